// nodemailer: node mail.mjs PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO.
import fs from "node:fs";
import nodemailer from "nodemailer";

const [port, mode, file, user, pass, method] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: "127.0.0.1", port: Number(port), name: "client.example",
  secure: mode === "tls", requireTLS: mode === "starttls", ignoreTLS: mode === "plain",
  tls: { ca: fs.readFileSync(process.env.CA), servername: "localhost" },
  auth: user ? { user, pass } : undefined, authMethod: method,
});
const done = await transport.sendMail({
  envelope: { from: process.env.FROM, to: process.env.TO.split(",") }, raw: fs.readFileSync(file),
});
console.log(done.response);
transport.close();
