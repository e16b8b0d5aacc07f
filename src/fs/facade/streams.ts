import { Readable, Writable } from 'node:stream'
import type { PathLike } from '../bytes.js'
import type { LayerFileHandle, ReadStreamOptions, WriteStreamOptions } from './layer-fs.js'

const CHUNK = 256 * 1024

/** Opens a file of a `LayerFs`. */
type Open = (path: PathLike, flags: string | number, mode?: number | string) => Promise<LayerFileHandle>

/** Streams a file from `start` to `end`, both inclusive, as `fs.createReadStream` does. */
export function readStream(
  open: Open,
  path: PathLike,
  given: BufferEncoding | ReadStreamOptions = {},
): Readable {
  const options = typeof given === 'string' ? { encoding: given } : given
  const { highWaterMark = CHUNK, encoding, signal, ...range } = options
  const chunks = chunksOf(open, path, { ...range, highWaterMark })
  return Readable.from(chunks, {
    objectMode: false,
    highWaterMark,
    ...(encoding != null && { encoding }),
    ...(signal !== undefined && { signal }),
  })
}

async function* chunksOf(
  open: Open,
  path: PathLike,
  options: ReadStreamOptions & { readonly highWaterMark: number },
): AsyncGenerator<Buffer> {
  const { flags = 'r', start = 0, end = Number.POSITIVE_INFINITY, highWaterMark } = options
  await using file = await open(path, flags)
  for (let position = start; position <= end;) {
    const buffer = Buffer.allocUnsafe(Math.min(highWaterMark, end - position + 1))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}

/** Streams into a file, as `fs.createWriteStream` does. */
export function writeStream(
  open: Open,
  path: PathLike,
  given: BufferEncoding | WriteStreamOptions = {},
): Writable {
  const options = typeof given === 'string' ? { encoding: given } : given
  const { flags = 'w', mode, start, encoding, signal } = options
  const opened = open(path, flags, mode)
  opened.catch(() => {})
  let position = start ?? null
  const write = async (chunk: Buffer): Promise<void> => {
    const file = await opened
    if (position === null) return file.writeFile(chunk)
    for (let rest = chunk; rest.length > 0;) {
      const { bytesWritten } = await file.write(rest, 0, rest.length, position)
      position += bytesWritten
      rest = rest.subarray(bytesWritten)
    }
  }
  return new Writable({
    ...(encoding != null && { defaultEncoding: encoding }),
    ...(signal !== undefined && { signal }),
    construct: (done) => void opened.then(() => done(), done),
    write: (chunk: Buffer, _encoding, done) => void write(chunk).then(() => done(), done),
    destroy: (error, done) => {
      void opened
        .then((file) => file.close())
        .then(
          () => done(error),
          () => done(error),
        )
    },
  })
}
