package greeter;

import com.google.gson.Gson;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** A small web application, such as people bring to s2ictl. */
public final class Greeter {
    private record Greeting(String text) {}

    public static void main(String[] arguments) throws IOException {
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        var answer = new Gson()
            .toJson(Map.of("greeting", new Greeting("Hello from Java, built by s2ictl without a Dockerfile.")))
            .getBytes(StandardCharsets.UTF_8);
        var server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            try (exchange) {
                exchange.sendResponseHeaders(200, answer.length);
                exchange.getResponseBody().write(answer);
            }
        });
        server.start();
    }

    private Greeter() {}
}
