// Apple's push service as its documentation tells it: HTTP/2 over TLS. Prints its port, then what it saw;
// a line on standard input is a list of replies [status, reason, headers] for the next requests.
import http2 from "node:http2";
import fs from "node:fs";
import readline from "node:readline";

const [certificate, key] = process.argv.slice(2);
const replies = [];
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const server = http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
server.on("session", () => say({ what: "session" }));
server.on("stream", (stream, headers) => {
  let body = "";
  stream.setEncoding("utf8");
  stream.on("data", (piece) => (body += piece));
  stream.on("end", () => {
    say({ what: "request", path: headers[":path"], headers: { ...headers }, body });
    const [status, reason, more] = replies.shift() ?? [200, "", {}];
    stream.respond({ ":status": status, "apns-id": headers["apns-id"], ...more });
    stream.end(reason ? JSON.stringify({ reason }) : "");
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(server.address().port + "\n"));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  replies.push(...JSON.parse(line));
  say({ what: "told" });
});
