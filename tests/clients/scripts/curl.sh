#!/usr/bin/env bash
# A session with curl, credentials from a .netrc and a cookie jar included.
set -euo pipefail
cd "$SESSION_FOLDER"
printf 'machine localhost login %s password %s\n' "$SESSION_USER" "$SESSION_PASSWORD" >netrc
printf 'localhost\tFALSE\t/\tFALSE\t0\tJSESSIONID\tdummy\n' >cookies
export LC_ALL=C.UTF-8

api=$SESSION_URL/rest/api/2
curl() { command curl -sS --fail-with-body --netrc-file netrc -b cookies -c cookies "$@"; }
json() { python3 -c 'import json, sys; print(eval("x" + sys.argv[1], {"x": json.load(sys.stdin)}), end="")' "$1"; }
quote() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1], ensure_ascii=False))' "$1"; }
equal() { [[ $1 == "$2" ]] || { printf 'found %q\nnot   %q\n' "$1" "$2"; exit 1; } >&2; }
post() { curl -H 'Content-Type: application/json' -d @- "$@"; }

equal "$(curl "$api/myself" | json '["name"]')" alana
equal "$(curl --compressed "$api/serverInfo" | json '["deploymentType"]')" Server

# As a GET, as JSON, and as JSON under a form's name, which is what -d alone makes of it.
search=(-G --data-urlencode "jql=$SESSION_JQL" -d maxResults=1)
equal "$(curl "${search[@]}" "$api/search" | json '["total"]')" "$SESSION_MATCHES"
body="{\"jql\": $(quote "$SESSION_JQL"), \"maxResults\": 1}"
equal "$(post "$api/search" <<<"$body" | json '["total"]')" "$SESSION_MATCHES"
curl --globoff "$api/search?fields=summary&x=[a]{b}|c^d\`e\\f<g>%zz&jql=key=%22JJ-2%22" >found
equal "$(json '["issues"][0]["key"]' <found)" JJ-2
for start in 0 100 200; do
    curl -G --data-urlencode "jql=$SESSION_LONG_JQL" -d "startAt=$start&maxResults=100" \
        "$api/search" | json '["issues"].__len__()' >>pages
    echo >>pages
done
equal "$(($(paste -sd+ pages)))" "$SESSION_LONG_MATCHES"

printf '{"fields": {"project": {"key": "JJ"}, "issuetype": {"name": "Bug"}, "summary": "first", "description": %s}}' \
    "$(quote "$SESSION_DESCRIPTION")" | post "$api/issue" >made
self=$(json '["self"]' <made)
curl "$self" >issue
equal "$(json '["fields"]["description"]' <issue)" "$SESSION_DESCRIPTION"
summary=$(quote "$SESSION_SUMMARY") python3 -c 'import json, os
d = json.load(open("issue"))["fields"]["description"]
print(json.dumps({"fields": {"summary": json.loads(os.environ["summary"]), "description": d}}))' |
    post -X PUT "$self"
curl "$self" >issue
equal "$(json '["fields"]["description"]' <issue)" "$SESSION_DESCRIPTION"
equal "$(json '["fields"]["summary"]' <issue)" "$SESSION_SUMMARY"

post "$self/comment" <<<"{\"body\": $(quote "$SESSION_DESCRIPTION")}" >comment
equal "$(curl "$(json '["self"]' <comment)" | json '["body"]')" "$SESSION_DESCRIPTION"
post "$self/transitions" <<<'{"transition": {"id": "4"}}'
equal "$(curl "$self?fields=status" | json '["fields"]["status"]["name"]')" 'In Progress'

# -F sends Expect: 100-continue with a file of that size.
curl -F "file=@\"$SESSION_FILE\"" "$self/attachments" >added
content=$(json '[0]["content"]' <added)
curl "$content" | sha256sum >sum
equal "$(cut -d' ' -f1 sum)" "$SESSION_SHA256"

curl -X DELETE "$self"
equal "$(command curl -s -o /dev/null -w '%{http_code}' "$self")" 404
