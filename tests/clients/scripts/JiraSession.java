// A session with Java's own HttpClient: java JiraSession.java
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class JiraSession {
    static final String URL = told("URL"), API = URL + "/rest/api/2/";
    static final HttpClient CLIENT = HttpClient.newBuilder()  // asks for h2c by Upgrade
        .followRedirects(HttpClient.Redirect.NORMAL).build();

    public static void main(String[] arguments) throws Exception {
        equal(field("name", text("GET", API + "myself", null)), "alana");
        String first = text("GET", API + "search?maxResults=1&jql=" + encoded(told("JQL")), null);
        equal(number("total", first), told("MATCHES"));
        Set<String> keys = new HashSet<>();
        for (int start = 0; start < 250; start += 100) {
            String query = "search?fields=summary&maxResults=100&startAt=" + start + "&jql=";
            String page = text("GET", API + query + encoded(told("LONG_JQL")), null);
            Matcher match = Pattern.compile("\"key\": ?\"(JJ-\\d+)\"").matcher(page);
            while (match.find()) keys.add(match.group(1));
        }
        equal(String.valueOf(keys.size()), told("LONG_MATCHES"));

        String made = text("POST", API + "issue", "{\"fields\":{\"project\":{\"key\":\"JJ\"},"
            + "\"issuetype\":{\"name\":\"Bug\"},\"summary\":\"first\",\"description\":"
            + json(told("DESCRIPTION")) + "}}");
        String self = field("self", made), texts = self + "?fields=summary,description";
        String description = text("GET", self + "?fields=description", null);
        description = raw("description", description);
        text("PUT", self, "{\"fields\":{\"summary\":" + json(told("SUMMARY"))
            + ",\"description\":" + description + "}}");
        equal(raw("description", text("GET", texts, null)), description);
        equal(raw("summary", text("GET", texts, null)).contains("C++"), true);
        equal(description.contains(told("JIRA") + "/browse/JJ-2"), true);

        // A large PUT: 30,000 characters of four bytes, which is what a text field takes.
        String large = "🖍".repeat(15_000) + told("JIRA");
        text("PUT", self, "{\"fields\":{\"environment\":" + json(large) + "}}");
        text("POST", self + "/comment", "{\"body\":" + json(told("DESCRIPTION")) + "}");
        text("POST", self + "/transitions", "{\"transition\":{\"id\":\"4\"}}");
        equal(text("GET", self + "?fields=status", null).contains("In Progress"), true);

        // The links that Atlassian's own client follows.
        String whole = text("GET", self + "?fields=votes,watches", null);
        for (String part : new String[] {"votes", "watchers"}) {
            text("GET", found("\"self\": ?\"([^\"]*/" + part + ")\"", whole), null);
        }
        text("GET", self + "/transitions", null);

        byte[] file = Files.readAllBytes(Path.of(told("FILE")));
        BodyPublisher form = BodyPublishers.concat(
            BodyPublishers.ofString("--x\r\nContent-Disposition: form-data; name=\"file\"; "
                + "filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"),
            BodyPublishers.ofByteArray(file), BodyPublishers.ofString("\r\n--x--\r\n"));
        HttpRequest upload = request(self + "/attachments")
            .header("Content-Type", "multipart/form-data; boundary=x")
            .header("X-Atlassian-Token", "no-check").expectContinue(true).POST(form).build();
        String added = good(CLIENT.send(upload, BodyHandlers.ofString())).body();
        HttpRequest download = request(field("content", added)).build();
        byte[] data = good(CLIENT.send(download, BodyHandlers.ofByteArray())).body();
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(data);
        equal(HexFormat.of().formatHex(digest), told("SHA256"));

        text("DELETE", self, null);
        HttpResponse<String> gone = CLIENT.send(request(self).build(), BodyHandlers.ofString());
        equal(gone.statusCode(), 404);
    }

    static String told(String name) { return System.getenv("SESSION_" + name); }

    static HttpRequest.Builder request(String url) {
        String user = told("USER") + ":" + told("PASSWORD");
        String basic = Base64.getEncoder().encodeToString(user.getBytes(StandardCharsets.UTF_8));
        return HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Basic " + basic);
    }

    static String text(String method, String url, String body) throws Exception {
        BodyPublisher sent = body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body);
        HttpRequest request = request(url).header("Content-Type", "application/json")
            .method(method, sent).build();
        return good(CLIENT.send(request, BodyHandlers.ofString())).body();
    }

    static <T> HttpResponse<T> good(HttpResponse<T> answer) {
        if (answer.statusCode() / 100 != 2) throw new AssertionError(answer + " " + answer.body());
        return answer;
    }

    static String encoded(String text) { return URLEncoder.encode(text, StandardCharsets.UTF_8); }

    static String json(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\r", "\\r")
            .replace("\n", "\\n").replace("\t", "\\t") + '"';
    }

    static String found(String pattern, String text) {
        Matcher match = Pattern.compile(pattern).matcher(text);
        if (!match.find()) throw new AssertionError("no " + pattern + " in " + text);
        return match.group(1);
    }

    static String group(String pattern, String name, String text) {
        return found('"' + name + "\": ?" + pattern, text);
    }

    static String field(String name, String text) { return group("\"([^\"]*)\"", name, text); }

    static String number(String name, String text) { return group("(\\d+)", name, text); }

    static String raw(String name, String text) {
        return group("(\"(?:[^\"\\\\]|\\\\.)*+\")", name, text);
    }

    static void equal(Object found, Object wanted) {
        if (!found.equals(wanted)) throw new AssertionError("found " + found + "\nnot " + wanted);
    }
}
