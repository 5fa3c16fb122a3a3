// The colours that were chosen in the console hold for the pages beside it.
const theme = localStorage.getItem("mldb.theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
