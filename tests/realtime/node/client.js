// The stock socket.io-client under a test's hand: prints what it is told, a JSON array a line, and emits what
// it reads. Arguments: url, auth and transports as JSON.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, auth, transports] = process.argv.slice(2);
const say = (...what) => console.log(JSON.stringify(what));
const socket = io(url, {
  path: "/api/v1/stream",
  auth: JSON.parse(auth),
  transports: JSON.parse(transports),
  reconnectionDelay: 100,
});

socket.on("connect", () => say("connect"));
socket.on("connect_error", (error) => say("connect_error", error.message, error.data));
socket.on("disconnect", (reason) => say("disconnect", reason));
socket.onAny((event, body) => say(event, body));
socket.io.engine.on("upgrade", (transport) => say("upgrade", transport.name));

createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb, message] = JSON.parse(line);
  socket.emit(verb, message, (answer) => say("answer", answer));
});
