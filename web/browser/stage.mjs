// A server that has the page's own files and a stream that a test feeds: for what a
// real network does not do on demand.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url)),
  page = path.join(here, "..", "page");
const kinds = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'";

// recording returns the parts and items of a file of web/testdata.
export function recording(name) {
  return fs
    .readFileSync(path.join(here, "..", "testdata", name + ".txt"), "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const at = line.indexOf(" ");
      return { name: line.slice(0, at), data: JSON.parse(line.slice(at + 1)) };
    });
}

// stage serves until close. feed is called with a function that sends an event.
export async function stage(feed) {
  const server = http.createServer((request, reply) => {
    const file = request.url === "/" ? "/index.html" : request.url.split("?")[0];
    if (file.startsWith("/api/")) {
      reply.writeHead(200, { "Content-Type": "text/event-stream" });
      let n = 0;
      const send = (name, data) => reply.write(`id: stage.${++n}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
      send("hello", { fresh: true, orders: false });
      const stop = feed(send);
      request.on("close", () => stop && stop());
      return;
    }
    try {
      const text = fs.readFileSync(path.join(page, path.normalize(file)));
      reply.writeHead(200, { "Content-Type": kinds[path.extname(file)], "Content-Security-Policy": policy });
      reply.end(text);
    } catch {
      reply.writeHead(404);
      reply.end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
