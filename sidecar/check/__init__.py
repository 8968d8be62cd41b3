"""`sidecar check`: everything between the configuration and a search that Jira answers as us.

Nothing is changed, here or in Jira: without a usable access token a request token is asked for,
which expires unused.  But a private key that was to follow, and that Jira accepts now, takes the
place of the old one.  The steps, in their order, by their fixed names:

configuration    it can be read and makes sense; Jira Cloud is none
private_key      it can be read and signs (a policy may forbid SHA-1)
file_modes       nobody else can read keys, passphrase, token and access key
name_resolution  Jira's name, or its proxy's, has an address
connection       something takes connections there
tls              its certificate is trusted and ours, if any, accepted; passes for plain http
jira             it is Jira that answers, not a login page, a captive portal or a web server
context_path     jira.base_url has Jira's context path; what Jira calls itself
clock            Jira's clock and ours agree
token            there is one, it is this Jira's, and it lives on for a while
signature        Jira accepts a signature of ours: consumer key, private key and URL fit
user             whom Jira takes us for
anonymous        a search is answered as that user, and its query arrives unchanged

After a failed step the later ones are still tried, except those that need what it should have
found out: they are "skipped" and say what they need.  So a step is skipped only after another has
failed.
"""
