import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Scanner;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Say what the wars on stdin are, packed or not, a line for each: kind, Java level and servlets of its own classes,
 * servlets of its libraries, file. A shell reads neither archives nor classes.
 */
final class Inspect {
    private static final List<String> SERVLETS = List.of("javax", "jakarta");
    private static final int LARGEST = 256 << 10; // of a class, that is searched

    public static void main(String[] nothing) {
        new Scanner(System.in).useDelimiter("\n").forEachRemaining(
                file -> System.out.println(String.join("\t", facts(Path.of(file)), file)));
    }

    private static String facts(Path war) {
        try {
            if (Files.isDirectory(war)) {
                return inside(war);
            }
            try (var zip = FileSystems.newFileSystem(war, (ClassLoader) null)) {
                return inside(zip.getPath("/"));
            }
        } catch (IOException | RuntimeException error) {
            return "broken\t0\t-\t-";
        }
    }

    private static String inside(Path root) throws IOException {
        var web = root.resolve("WEB-INF");
        if (!Files.isDirectory(web)) {
            return "other\t0\t-\t-";
        }
        var level = 0;
        var servlets = new TreeSet<String>();
        for (var file : below(web.resolve("classes"), ".class")) {
            level = Math.max(level, level(file));
            servlets.addAll(named(file));
        }
        return String.join("\t", "war", "" + level, listed(servlets), listed(ofLibraries(web.resolve("lib"))));
    }

    private static String listed(TreeSet<String> servlets) {
        return servlets.isEmpty() ? "-" : String.join(",", servlets);
    }

    private static List<Path> below(Path directory, String ending) throws IOException {
        if (!Files.isDirectory(directory)) {
            return List.of();
        }
        try (var files = Files.walk(directory)) {
            return files.filter(file -> file.toString().endsWith(ending)).collect(Collectors.toList());
        }
    }

    /** What is a module's description, or for one release alone, may be for a Java that is yet to come. */
    private static int level(Path file) throws IOException {
        if (file.endsWith("module-info.class") || file.toString().contains("/META-INF/versions/")) {
            return 0;
        }
        try (var stream = new DataInputStream(Files.newInputStream(file))) {
            stream.skipNBytes(6); // a magic number, and the minor version
            return stream.readUnsignedShort() - 44; // the version of Java 1.0; each level is one more
        }
    }

    private static List<String> named(Path file) throws IOException {
        String text;
        try (var stream = Files.newInputStream(file)) {
            text = new String(stream.readNBytes(LARGEST), StandardCharsets.ISO_8859_1);
        }
        return SERVLETS.stream().filter(each -> text.contains(each + "/servlet/")).collect(Collectors.toList());
    }

    /** Frameworks start by what they have registered with the servlet container, by the name that it has for that. */
    private static TreeSet<String> ofLibraries(Path directory) throws IOException {
        var found = new TreeSet<String>();
        for (var library : below(directory, ".jar")) {
            found.addAll(registeredIn(library));
        }
        return found;
    }

    private static List<String> registeredIn(Path library) {
        try (var jar = FileSystems.newFileSystem(library, (ClassLoader) null)) {
            var services = jar.getPath("/META-INF/services");
            return SERVLETS.stream()
                    .filter(each -> Files.exists(services.resolve(each + ".servlet.ServletContainerInitializer")))
                    .collect(Collectors.toList());
        } catch (IOException | RuntimeException unreadable) {
            return List.of(); // whether it is needed is not known here
        }
    }
}
