# A session with the gem jira-ruby.
require "digest"
require "net/http"
require "jira-ruby"

TOLD = ENV.select { |name, _| name.start_with?("SESSION_") }
          .transform_keys { |name| name.delete_prefix("SESSION_") }

def equal(found, wanted)
  found == wanted or abort "found #{found.inspect}\nnot   #{wanted.inspect}"
end

url = URI(TOLD["URL"])
options = {
  site: "http://#{url.host}:#{url.port}", context_path: url.path, use_ssl: false,
  username: TOLD["USER"], password: TOLD["PASSWORD"]
}
cookie = { auth_type: :cookie, additional_cookies: ["AUTH=dummy"] }
equal(JIRA::Client.new(**options, **cookie).ServerInfo.all.attrs["deploymentType"], "Server")

jira = JIRA::Client.new(**options, auth_type: :basic, use_cookies: true)
equal(jira.Issue.jql(TOLD["JQL"], max_results: 1000).size, TOLD["MATCHES"].to_i)
keys = [0, 100, 200].flat_map do |start|
  jira.Issue.jql(TOLD["LONG_JQL"], start_at: start, max_results: 100).map(&:key)
end
equal(keys.uniq.size, TOLD["LONG_MATCHES"].to_i)

issue = jira.Issue.build
fields = { "project" => { "key" => "JJ" }, "issuetype" => { "name" => "Bug" },
           "summary" => "first", "description" => TOLD["DESCRIPTION"] }
issue.save!("fields" => fields)
issue.fetch
equal(issue.description, TOLD["DESCRIPTION"])
issue.save!("fields" => { "summary" => TOLD["SUMMARY"], "description" => issue.description })
issue = jira.Issue.find(issue.key)
equal([issue.summary, issue.description], TOLD.values_at("SUMMARY", "DESCRIPTION"))

issue.comments.build.save!("body" => TOLD["DESCRIPTION"])
issue = jira.Issue.find(issue.key)
equal(issue.comments.map(&:body), [TOLD["DESCRIPTION"]])
step = jira.Transition.all(issue: issue).find { |each| each.name == "Start Progress" }
issue.transitions.build.save!("transition" => { "id" => step.id })
equal(jira.Issue.find(issue.key).status.name, "In Progress")

issue.attachments.build.save!("file" => TOLD["FILE"])
added = jira.Issue.find(issue.key).attachments.first
equal(Digest::SHA256.hexdigest(Net::HTTP.get(URI(added.content))), TOLD["SHA256"])
equal(jira.Board.all.map(&:name), ["JJ board"])

issue.delete
begin
  jira.Issue.find(issue.key)
  abort "the issue is still there"
rescue JIRA::HTTPError => e
  equal(e.code, "404")
end
