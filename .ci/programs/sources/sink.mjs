// The server of npm's smtp-server: node sink.mjs FOLDER CERT KEY, says its port; each message becomes a file.
import fs from "node:fs";
import { SMTPServer } from "smtp-server";

const [folder, cert, key] = process.argv.slice(2);
let count = 0;
const server = new SMTPServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), authOptional: true,
  onAuth: (auth, session, done) =>
    auth.username === "alice" && auth.password === process.env.PASSWORD
      ? done(null, { user: "alice" }) : done(new Error("no")),
  onRcptTo: (address, session, done) =>
    address.address.startsWith("nobody") ? done(new Error("no such user")) : done(),
  onData: (stream, session, done) => {
    const name = `${folder}/${count++}`;
    const envelope = { from: session.envelope.mailFrom.address, to: session.envelope.rcptTo.map((to) => to.address),
                       tls: session.secure, user: session.user || null };
    stream.pipe(fs.createWriteStream(name)).on("finish", () => {
      fs.writeFileSync(`${name}.json`, JSON.stringify(envelope));
      done(null, "kept");
    });
  },
});
server.on("error", (error) => console.error(String(error)));
server.listen(0, "127.0.0.1", () => console.log(server.server.address().port));
