# A session with Perl's JIRA::Client::Automated.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use JIRA::Client::Automated;
use Told;

my $jira = JIRA::Client::Automated->new($TOLD{URL}, $TOLD{USER}, $TOLD{PASSWORD});
equal($jira->search_issues($TOLD{JQL}, 0, 1000, ['summary'])->{total}, $TOLD{MATCHES});
my %keys = map { $_->{key} => 1 } $jira->all_search_results($TOLD{LONG_JQL}, 100);
equal(scalar(keys %keys), $TOLD{LONG_MATCHES});

my $key = $jira->create(first_fields())->{key};
my $issue = $jira->get_issue($key);
equal($issue->{fields}{description}, $TOLD{DESCRIPTION});
$jira->update_issue($key,
    { summary => $TOLD{SUMMARY}, description => $issue->{fields}{description} });
$issue = $jira->get_issue($key);
equal($issue->{fields}{summary},     $TOLD{SUMMARY});
equal($issue->{fields}{description}, $TOLD{DESCRIPTION});

$jira->create_comment($key, $TOLD{DESCRIPTION});
equal($jira->get_issue_comments($key)->[0]{body}, $TOLD{DESCRIPTION});
$jira->transition_issue($key, 'Start Progress');
equal($jira->get_issue($key)->{fields}{status}{name}, 'In Progress');
$jira->add_issue_watchers($key, 'william');
equal($jira->get_issue_watchers($key)->[1]{name}, 'william');

my $added = $jira->attach_file_to_issue($key, $TOLD{FILE});
my $answer = $jira->ua->get($added->[0]{content});
equal(sha256_hex($answer->content), $TOLD{SHA256});

$jira->delete_issue($key);
eval { $jira->get_issue($key); 1 } and die 'the issue is still there';
