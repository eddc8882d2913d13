// Node's socket.io as it comes: a room an instrument, an emit a tick.
// Arguments: port, beats a second, instruments.
import { Server } from "socket.io";

const [port, beatsASecond, ...instruments] = process.argv.slice(2);
const server = new Server(Number(port), { path: "/socket.io" });
server.on("connection", (socket) => {
  socket.on("subscribe", ({ instruments }) => socket.join(instruments));
});

let beat = 0;
setInterval(() => {
  beat += 1;
  instruments.forEach((instrument, number) => {
    server.to(instrument).emit("tick", {
      instrument,
      ltp: 100.05 + beat + number,
      volume: beat,
      timestamp: new Date().toISOString(),
    });
  });
}, 1000 / Number(beatsASecond));
