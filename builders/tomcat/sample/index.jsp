<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<html lang="en">
  <head>
    <title>A small web application, such as people bring to s2ictl</title>
  </head>
  <body>
    <p>Hello from ${pageContext.servletContext.serverInfo}, served by s2ictl without a Dockerfile.</p>
  </body>
</html>
