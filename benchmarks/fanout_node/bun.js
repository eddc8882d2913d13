// Bun's WebSocket server with its native pub/sub: a topic an instrument, a publish a tick.
// Arguments: port, beats a second, instruments.
const [port, beatsASecond, ...instruments] = process.argv.slice(2);
const server = Bun.serve({
  port: Number(port),
  hostname: "127.0.0.1",
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("a WebSocket, please")),
  websocket: {
    message: (socket, wanted) => JSON.parse(wanted).forEach((instrument) => socket.subscribe(instrument)),
  },
});

let beat = 0;
setInterval(() => {
  beat += 1;
  instruments.forEach((instrument, number) => {
    const tick = { instrument, ltp: 100.05 + beat + number, volume: beat, timestamp: new Date().toISOString() };
    server.publish(instrument, JSON.stringify(tick));
  });
}, 1000 / Number(beatsASecond));
