import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.io.ByteArrayInputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;

/**
 * MongoDB's wire protocol on loopback. Arguments: PORT [H2 FILE [KEY CERTIFICATE]]; without a file everything is in
 * memory, with a key (EC, PKCS 8, PEM) and its certificate only TLS is spoken. With MONGO_USER and MONGO_PASSWORD in the
 * environment only that user is let in.
 */
public class WireServer {
  public static void main(String[] args) throws Exception {
    var server = new MongoServer(args.length > 1 ? backend(args[1]) : new MemoryBackend());
    if (args.length > 3) {
      var pem = Files.readString(Path.of(args[2])).replaceAll("-----[A-Z ]+-----|\\s", "");
      var key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
      var bytes = new ByteArrayInputStream(Files.readAllBytes(Path.of(args[3])));
      server.enableSsl(key, null, (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(bytes));
    }
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    System.out.println("listening on " + args[0]);
    Thread.currentThread().join();
  }

  private static MongoBackend backend(String file) throws Exception {
    var user = System.getenv("MONGO_USER");
    return user == null ? new H2Backend(file) : new UserBackend(file, user, System.getenv("MONGO_PASSWORD"));
  }
}
