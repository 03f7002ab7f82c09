import java.io.DataInputStream;
import java.io.IOException;
import java.time.Instant;
import java.util.Scanner;
import java.util.jar.JarFile;
import java.util.zip.ZipEntry;

/**
 * Say what the jars and wars on stdin are, a line for each: kind, Java level, version of Spring Boot, whether entries
 * are newer than the source, class path, file. A shell reads neither class files nor the folded lines of a manifest.
 */
final class Inspect {
    private static final String NOTHING = "-";

    public static void main(String[] nothing) {
        new Scanner(System.in).useDelimiter("\n").forEachRemaining(
                file -> System.out.println(String.join("\t", facts(file), file)));
    }

    private static String facts(String file) {
        try (var jar = new JarFile(file, false)) {
            return String.join(
                    "\t",
                    kind(jar),
                    "" + level(jar),
                    said(jar, "Spring-Boot-Version"),
                    time(jar),
                    said(jar, "Class-Path"));
        } catch (IOException | SecurityException error) {
            return String.join("\t", "broken", "0", NOTHING, NOTHING, NOTHING);
        }
    }

    private static String kind(JarFile jar) throws IOException {
        if (!said(jar, "Main-Class").equals(NOTHING)) {
            return "runnable";
        }
        return jar.getName().endsWith(".war") ? "war" : "library";
    }

    private static int level(JarFile jar) throws IOException {
        var highest = 0;
        for (var entry : jar.stream().filter(Inspect::counts).toList()) {
            highest = Math.max(highest, level(jar, entry));
        }
        return highest;
    }

    /** What lies in META-INF/versions, or is a module's description, may be for a Java that is yet to come. */
    private static boolean counts(ZipEntry entry) {
        var name = entry.getName();
        return name.endsWith(".class") && !name.startsWith("META-INF/") && !name.endsWith("module-info.class");
    }

    private static int level(JarFile jar, ZipEntry entry) throws IOException {
        try (var stream = new DataInputStream(jar.getInputStream(entry))) {
            stream.skipNBytes(6); // a magic number, and the minor version
            return stream.readUnsignedShort() - 44; // the version of Java 1.0; each level is one more
        }
    }

    private static String time(JarFile jar) {
        var source = System.getenv("SOURCE_DATE_EPOCH");
        if (source == null || source.isEmpty()) {
            return NOTHING;
        }
        var limit = Instant.ofEpochSecond(Long.parseLong(source) + 2); // a zip counts in steps of two
        return jar.stream().anyMatch(entry -> entry.getLastModifiedTime().toInstant().isAfter(limit)) ? "new" : NOTHING;
    }

    private static String said(JarFile jar, String attribute) throws IOException {
        var manifest = jar.getManifest();
        var value = manifest == null ? null : manifest.getMainAttributes().getValue(attribute);
        return value == null || value.isBlank() ? NOTHING : value.strip().replaceAll("\\s+", " ");
    }
}
