// A message centre that speaks SMPP 3.4, by the npm package smpp. Prints its port, then what it saw; a line on
// standard input is a list of what the next messages get: a status, "silent" (no reply) or "close".
const readline = require("node:readline");
const smpp = require("smpp");

const replies = [];
const sessions = new Set();
let messages = 0;
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const server = smpp.createServer((session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
  session.on("error", () => session.close());
  session.on("bind_transceiver", (pdu) => {
    const good = pdu.system_id === "chat" && pdu.password === "right";
    say({ what: "bind", good });
    session.send(pdu.response({ command_status: good ? 0 : 0x0d }));
  });
  session.on("submit_sm", (pdu) => {
    const reply = replies.shift() ?? 0;
    const { message, udh } = pdu.short_message;
    say({
      what: "message",
      to: pdu.destination_addr,
      toTon: pdu.dest_addr_ton,
      from: pdu.source_addr,
      fromTon: pdu.source_addr_ton,
      coding: pdu.data_coding,
      text: message.toString(),
      udh: udh ? [...Buffer.concat(udh.map ? udh : [udh])] : [],
    });
    if (reply === "close") return session.close();
    if (reply === "silent") return;
    session.enquire_link(); // the centre may ask at any time, also before it replies
    session.send(pdu.response({ command_status: reply, message_id: `m${++messages}` }));
    if (reply === 0)
      session.deliver_sm({ esm_class: 4, source_addr: pdu.destination_addr, short_message: `id:m${messages}` });
  });
  session.on("deliver_sm_resp", () => say({ what: "receipt" }));
  session.on("enquire_link", (pdu) => session.send(pdu.response()));
  session.on("unbind", (pdu) => {
    say({ what: "unbind" });
    session.send(pdu.response());
    session.close();
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(server.address().port + "\n"));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const orders = JSON.parse(line);
  if (orders === "hang up") for (const session of sessions) session.destroy();
  else replies.push(...orders);
  say({ what: "told" });
});
