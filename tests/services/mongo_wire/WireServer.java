import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.net.InetSocketAddress;

/** MongoDB's wire protocol on loopback. Arguments: PORT [H2 FILE]; without a file everything is in memory. */
public class WireServer {
  public static void main(String[] args) throws Exception {
    var server = new MongoServer(args.length > 1 ? new H2Backend(args[1]) : new MemoryBackend());
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    server.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    System.out.println("listening on " + args[0]);
    Thread.currentThread().join();
  }
}
