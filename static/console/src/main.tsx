import { render } from "preact";
import { App } from "./app";
import { follow } from "./live";
import { route } from "./router";
import "../../tokens.css";
import "./styles/base.css";
import "./styles/shell.css";

route();
follow();
const root = document.getElementById("console");
if (root) render(<App />, root);
