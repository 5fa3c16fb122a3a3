// Folders that are dropped on the page, packed as a zip archive without compression: the server takes one form only.

export interface Dropped {
  /** Name of the folder or of the archive, without its ending. */
  name: string;
  archive: Blob;
}

const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function checksum(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ (CRC[(value ^ byte) & 0xff] ?? 0);
  return (value ^ 0xffffffff) >>> 0;
}

/** A record of a zip archive: numbers as [value, bytes], little-endian. */
function record(...fields: [number, 2 | 4][]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(fields.reduce((sum, [, width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [value, width] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return bytes;
}

const UTF8_NAMES = 0x800;

/** The archive of files by path. */
export async function zip(files: ReadonlyMap<string, Blob>): Promise<Blob> {
  const parts: BlobPart[] = [];
  const directory: BlobPart[] = [];
  let offset = 0;
  let directorySize = 0;
  for (const [path, file] of files) {
    const name = new TextEncoder().encode(path);
    const content = new Uint8Array(await file.arrayBuffer());
    const shared: [number, 2 | 4][] = [
      [20, 2],
      [UTF8_NAMES, 2],
      [0, 2],
      [0, 2],
      [0x21, 2],
      [checksum(content), 4],
      [content.length, 4],
      [content.length, 4],
      [name.length, 2],
      [0, 2],
    ];
    const local = record([0x04034b50, 4], ...shared);
    const central = record([0x02014b50, 4], [20, 2], ...shared, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]);
    parts.push(local, name, content);
    directory.push(central, name);
    offset += local.length + name.length + content.length;
    directorySize += central.length + name.length;
  }
  const end = record(
    [0x06054b50, 4],
    [0, 2],
    [0, 2],
    [files.size, 2],
    [files.size, 2],
    [directorySize, 4],
    [offset, 4],
    [0, 2],
  );
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** What a drop holds: a zip archive as it is, or a folder packed as one. Throws with what is wrong. */
export async function dropped(items: DataTransferItemList): Promise<Dropped> {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const [first] = entries;
  if (!first || entries.length > 1) throw new Error("drop one folder, or one zip archive");
  if (first.isDirectory) {
    const files = new Map<string, Blob>();
    await collect(first as FileSystemDirectoryEntry, first.name, files);
    return { name: first.name, archive: await zip(files) };
  }
  const file = await new Promise<File>((resolve, reject) => (first as FileSystemFileEntry).file(resolve, reject));
  return fromFile(file);
}

export function fromFile(file: File): Dropped {
  if (!file.name.toLowerCase().endsWith(".zip")) throw new Error(`${file.name} is neither a folder nor a zip archive`);
  return { name: file.name.slice(0, -4), archive: file };
}

/** What a folder chooser gives. */
export async function fromFolder(list: FileList): Promise<Dropped> {
  const files = new Map([...list].map((file) => [file.webkitRelativePath || file.name, file as Blob]));
  const name = [...files.keys()][0]?.split("/")[0] ?? "plugin";
  return { name, archive: await zip(files) };
}

async function collect(folder: FileSystemDirectoryEntry, path: string, files: Map<string, Blob>): Promise<void> {
  const reader = folder.createReader();
  // A reader gives a hundred entries at a time, and none when it is through.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return;
    for (const entry of batch) {
      const name = `${path}/${entry.name}`;
      if (entry.isDirectory) await collect(entry as FileSystemDirectoryEntry, name, files);
      else
        files.set(
          name,
          await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
        );
    }
  }
}
