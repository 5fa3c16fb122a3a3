// Pictures from wherever they come, made small JPEGs: upright, and quick to send from a phone.

const LONGEST_SIDE = 448; // the network looks at 299 × 299

/** A Blob of a picture as a small JPEG; an Error when the browser cannot read it. */
export async function shrink(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error(`${blob.name || "This"} is not a picture that can be read`);
  }
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent becomes paper
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return toJpeg(canvas);
}

function toJpeg(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture could not be read"))), "image/jpeg", 0.92);
  });
}

/** A data URL as a Blob, without fetching it: the page's policy allows its own server only. */
export function toBlob(url) {
  const [head, body] = url.split(",");
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

export async function base64(blob) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}

/** Make an element take drops: `onFiles` gets pictures, `onUrl` the address of one that comes from another page. */
export function dropZone(element, onFiles, onUrl) {
  const over = (event) => {
    event.preventDefault();
    element.classList.add("over");
  };
  element.addEventListener("dragenter", over);
  element.addEventListener("dragover", over);
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    const files = [...event.dataTransfer.files];
    const url = event.dataTransfer.getData("text/uri-list").split("\n")[0];
    if (files.length) onFiles(files);
    else if (url && onUrl) onUrl(url);
  });
}

/** The camera's dialog; `onPicture` gets each picture that is taken. */
export function camera(dialog, onPicture, onError) {
  const video = dialog.querySelector("video");
  const stop = () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  };
  dialog.addEventListener("close", stop);
  dialog.querySelector("#camera-close").addEventListener("click", () => dialog.close());
  dialog.querySelector("#snap").addEventListener("click", async () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    dialog.close();
    onPicture(await toJpeg(canvas));
  });
  return async () => {
    try {
      if (!navigator.mediaDevices) throw new Error("cameras work only on https: or on this very machine");
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      dialog.showModal();
    } catch (error) {
      onError(new Error(`No camera: ${error.message}`));
    }
  };
}
