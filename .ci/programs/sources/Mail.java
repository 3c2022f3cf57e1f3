// Jakarta Mail, as Debian has it: java -cp JAR Mail.java PORT MODE FILE [USER PASSWORD MECHANISM].
import java.io.FileInputStream;
import java.util.Properties;
import javax.mail.Session;
import javax.mail.Transport;
import javax.mail.internet.InternetAddress;
import javax.mail.internet.MimeMessage;

public class Mail {
    public static void main(String[] a) throws Exception {
        String protocol = a[1].equals("tls") ? "smtps" : "smtp", prefix = "mail." + protocol + ".";
        Properties set = new Properties();
        set.put(prefix + "host", "127.0.0.1");
        set.put(prefix + "port", a[0]);
        set.put(prefix + "localhost", "client.example");
        set.put(prefix + "from", System.getenv("FROM"));
        set.put(prefix + "ssl.trust", "*");
        set.put(prefix + "ssl.checkserveridentity", "false");
        set.put(prefix + "allow8bitmime", "true");
        if (a[1].equals("starttls")) set.put(prefix + "starttls.required", "true");
        if (a.length > 5) { set.put(prefix + "auth", "true"); set.put(prefix + "auth.mechanisms", a[5]); }
        Session session = Session.getInstance(set);
        MimeMessage message;
        try (FileInputStream in = new FileInputStream(a[2])) { message = new MimeMessage(session, in); }
        try (Transport transport = session.getTransport(protocol)) {
            if (a.length > 5) transport.connect(a[3], a[4]); else transport.connect();
            transport.sendMessage(message, InternetAddress.parse(System.getenv("TO")));
        }
    }
}
