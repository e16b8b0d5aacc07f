import type { LayerFileHandle, LayerFs } from '#layerstack/fs/facade/layer-fs.js'

/** The calls under test: a layer's filesystem, or Node's own calls with the calls that Node lacks. */
export type PosixFs = Omit<LayerFs, 'raw' | 'exists' | 'createReadStream' | 'createWriteStream'>

/** Returns the path of a name in the case's directory. The object is named `x`. */
export type At = (name: string) => string

/** Calls on the object `x`. Their result and the resulting tree are compared. */
export interface Operation {
  readonly name: string
  /** Opens the object without `O_NONBLOCK`, so it is not for objects that may block forever. */
  readonly blocks?: boolean
  /** Sets xattrs that require CAP_SYS_ADMIN. */
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

/** Sets xattrs that require CAP_SYS_ADMIN. */
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

/** Reads up to `length` bytes, from the handle's own position by default. */
export async function readText(file: LayerFileHandle, length = 100, position?: number): Promise<string> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position ?? null)
  return Buffer.from(buffer.subarray(0, bytesRead)).toString('latin1')
}

/** Returns the result of a call, or the code of its error. */
export async function attempt(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await call()) ?? 'ok'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return code
  }
}
