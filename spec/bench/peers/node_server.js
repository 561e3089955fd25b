// node_server.js PORT: the decision of spec/bench/http.lua in a plain Node.js HTTP server.
const http = require("http");
http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const e = JSON.parse(Buffer.concat(parts));
    const decision = e.amount > 900 && e.device.os === "unknown" ? "review" : "accept";
    const body = JSON.stringify({ decision });
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
