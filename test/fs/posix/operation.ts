import type { LayerFileHandle, LayerFs } from '#layerstack/fs/facade/layer-fs.js'

/** What is asked: a layer's filesystem, or Node's own calls with those beside them that Node does not have. */
export type PosixFs = Omit<LayerFs, 'raw' | 'exists' | 'createReadStream' | 'createWriteStream'>

/** The path of a name in the case's directory, where the object is `x`. */
export type At = (name: string) => string

/** Something done to the object `x`; what comes of it is compared, and the tree after it. */
export interface Operation {
  readonly name: string
  /** Opens the object without `O_NONBLOCK`: not for what may wait for ever. */
  readonly blocks?: boolean
  /** Sets xattrs that take CAP_SYS_ADMIN. */
  readonly trusted?: boolean
  readonly run: (fs: PosixFs, at: At) => Promise<unknown>
}

export function operation(name: string, run: Operation['run']): Operation {
  return { name, run }
}

/** Opens the object without `O_NONBLOCK`. */
export function blocking(name: string, run: Operation['run']): Operation {
  return { name, run, blocks: true }
}

/** Sets xattrs that take CAP_SYS_ADMIN. */
export function trusted(name: string, run: Operation['run']): Operation {
  return { name, run, trusted: true }
}

export async function withFile<T>(
  fs: PosixFs,
  path: string,
  flags: string | number,
  use: (file: LayerFileHandle) => Promise<T>,
  mode?: number,
): Promise<T> {
  const file = await fs.open(path, flags, mode)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}

/** Reads so many bytes, from the handle's own position if none is given. */
export async function readText(file: LayerFileHandle, length = 100, position?: number): Promise<string> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position ?? null)
  return Buffer.from(buffer.subarray(0, bytesRead)).toString('latin1')
}

/** What came of a call, or the name of its error. */
export async function attempt(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await call()) ?? 'ok'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return code
  }
}
