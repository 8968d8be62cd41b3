# A session with Perl's JIRA::REST.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use JIRA::REST;
use Told;

my %user = (url => $TOLD{URL}, username => $TOLD{USER}, password => $TOLD{PASSWORD});
{
    my $jira = JIRA::REST->new({ %user, session => 1 });
    equal($jira->GET('/rest/auth/1/session')->{name}, 'alana');
}    # DELETE of the session
equal(JIRA::REST->new({ url => $TOLD{URL}, pat => $TOLD{TOKEN} })->GET('/myself')->{name}, 'alana');

my $jira = JIRA::REST->new({%user});
my $found = $jira->GET('/search', { jql => 'text ~ "paint & glue <mixed> by 50%"' });
equal($found->{total}, 74);
$found = $jira->POST('/search', undef, { jql => $TOLD{JQL}, fields => ['summary'] });
equal($found->{total}, $TOLD{MATCHES});
$jira->set_search_iterator({ jql => $TOLD{LONG_JQL}, maxResults => 100, fields => ['summary'] });
my %keys;
while (my $issue = $jira->next_issue) { $keys{ $issue->{key} } = 1 }
equal(scalar(keys %keys), $TOLD{LONG_MATCHES});

my $made = $jira->POST('/issue', undef, { fields => first_fields() });
my $key  = $made->{key};
my $issue = $jira->GET("/issue/$key");
equal($issue->{fields}{description}, $TOLD{DESCRIPTION});
$jira->PUT($made->{self}, undef,
    { fields => { summary => $TOLD{SUMMARY}, description => $issue->{fields}{description} } });
$issue = $jira->GET($made->{self});
equal($issue->{fields}{summary},     $TOLD{SUMMARY});
equal($issue->{fields}{description}, $TOLD{DESCRIPTION});

$jira->POST("/issue/$key/comment", undef, { body => $TOLD{DESCRIPTION} });
equal($jira->GET("/issue/$key/comment")->{comments}[0]{body}, $TOLD{DESCRIPTION});
my ($step) = grep { $_->{name} eq 'Start Progress' }
    @{ $jira->GET("/issue/$key/transitions")->{transitions} };
$jira->POST("/issue/$key/transitions", undef, { transition => { id => $step->{id} } });
equal($jira->GET("/issue/$key")->{fields}{status}{name}, 'In Progress');

$jira->attach_files($key, $TOLD{FILE});
my $content = $jira->GET("/issue/$key")->{fields}{attachment}[0]{content};
my $answer = $jira->rest_client->getUseragent->get($content);
equal(sha256_hex($answer->content), $TOLD{SHA256});

$jira->DELETE("/issue/$key");
eval { $jira->GET("/issue/$key"); 1 } and die 'the issue is still there';
equal(($@ =~ /Issue Does Not Exist/) ? 'gone' : $@, 'gone');
