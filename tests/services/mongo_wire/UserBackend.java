import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/** A backend that lets one user in, by SCRAM-SHA-256 (RFC 7677) as mongod does it, and nobody else. */
class UserBackend extends H2Backend {
  private static final int ITERATIONS = 15000;
  private static final Set<String> BEFORE_LOGIN = Set.of("hello", "isMaster", "ismaster", "ping", "buildInfo");

  private final String user;
  private final byte[] salt = new byte[28];
  private final byte[] salted;
  private final SecureRandom random = new SecureRandom();
  private final Map<Channel, Login> logins = new ConcurrentHashMap<>();

  private static class Login {
    String first;
    String nonce;
    String challenge;
    boolean proven;
    boolean done;
  }

  UserBackend(String file, String user, String password) throws Exception {
    super(file);
    this.user = user;
    random.nextBytes(salt);
    var key = new PBEKeySpec(password.toCharArray(), salt, ITERATIONS, 256);
    salted = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256").generateSecret(key).getEncoded();
  }

  @Override
  public Document handleCommand(Channel channel, String database, String command, Document query) {
    refuseStranger(channel, command);
    var answer = super.handleCommand(channel, database, command, query);
    if (query.containsKey("saslSupportedMechs")) {
      answer.put("saslSupportedMechs", List.of("SCRAM-SHA-256"));
    }
    return answer;
  }

  @Override
  public Document handleMessage(MongoMessage message) {
    var document = message.getDocument();
    var command = document.keySet().iterator().next();
    try {
      if (command.equals("saslStart")) {
        return start(message.getChannel(), document);
      }
      if (command.equals("saslContinue")) {
        return proceed(message.getChannel(), document);
      }
    } catch (java.security.GeneralSecurityException error) {
      throw new IllegalStateException(error);
    }
    refuseStranger(message.getChannel(), command);
    return super.handleMessage(message);
  }

  @Override
  public void handleClose(Channel channel) {
    logins.remove(channel);
    super.handleClose(channel);
  }

  private void refuseStranger(Channel channel, String command) {
    var login = logins.get(channel);
    if (!BEFORE_LOGIN.contains(command) && (login == null || !login.done)) {
      throw new MongoServerError(13, "Unauthorized", "Command " + command + " requires authentication");
    }
  }

  private Document start(Channel channel, Document document) {
    if (!"SCRAM-SHA-256".equals(document.get("mechanism")) || !"admin".equals(document.get("$db"))) {
      throw refusal();
    }
    var login = new Login();
    var said = text(document.get("payload"));
    login.first = said.substring(said.indexOf("n="));
    var parts = login.first.split(",");
    if (!parts[0].equals("n=" + user)) {
      throw refusal();
    }
    var ours = new byte[18];
    random.nextBytes(ours);
    login.nonce = parts[1].substring(2) + base64(ours);
    login.challenge = "r=" + login.nonce + ",s=" + base64(salt) + ",i=" + ITERATIONS;
    logins.put(channel, login);
    return answer(login, login.challenge);
  }

  private Document proceed(Channel channel, Document document) throws java.security.GeneralSecurityException {
    var login = logins.get(channel);
    if (login == null) {
      throw refusal();
    }
    if (login.proven) { // the last exchange is an empty one
      login.done = true;
      return answer(login, "");
    }
    var said = text(document.get("payload"));
    var at = said.lastIndexOf(",p=");
    var bare = said.substring(0, at);
    var signed = (login.first + "," + login.challenge + "," + bare).getBytes(StandardCharsets.UTF_8);
    var clientKey = hmac(salted, "Client Key".getBytes(StandardCharsets.UTF_8));
    var stored = MessageDigest.getInstance("SHA-256").digest(clientKey);
    var signature = hmac(stored, signed);
    for (var i = 0; i < signature.length; i++) {
      signature[i] ^= clientKey[i];
    }
    var proof = Base64.getDecoder().decode(said.substring(at + 3));
    if (!bare.endsWith(",r=" + login.nonce) || !MessageDigest.isEqual(proof, signature)) {
      logins.remove(channel);
      throw refusal();
    }
    login.proven = true;
    return answer(login, "v=" + base64(hmac(hmac(salted, "Server Key".getBytes(StandardCharsets.UTF_8)), signed)));
  }

  private static Document answer(Login login, String payload) {
    var bytes = new BinData(payload.getBytes(StandardCharsets.UTF_8));
    return new Document("conversationId", 1).append("done", login.done).append("payload", bytes).append("ok", 1.0);
  }

  private static MongoServerError refusal() {
    return new MongoServerError(18, "AuthenticationFailed", "Authentication failed.");
  }

  private static byte[] hmac(byte[] key, byte[] message) throws java.security.GeneralSecurityException {
    var mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));
    return mac.doFinal(message);
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static String text(Object payload) {
    return new String(payload instanceof BinData data ? data.getData() : (byte[]) payload, StandardCharsets.UTF_8);
  }
}
