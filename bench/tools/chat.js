// The requests that k6 sends: the body is the file body.json beside this script.
import http from "k6/http";

const body = open("./body.json");
const params = { headers: { "content-type": "application/json" } };

export default function () {
  http.post(__ENV.URL, body, params);
}
