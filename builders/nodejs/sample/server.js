// A small web application, such as people bring to s2ictl.
const express = require("express");

const app = express();

app.get("/", (request, response) => {
  response.type("text").send("Hello from Node.js, built by s2ictl without a Dockerfile.\n");
});

app.listen(process.env.PORT, () => console.log(`Listening on port ${process.env.PORT}`));
