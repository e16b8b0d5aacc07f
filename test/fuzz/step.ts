/**
 * One step of a random sequence. It is plain data, so that it can be drawn, shrunk, printed and pasted into a test.
 *
 * Steps without a dot call the synchronous `SyncFs` with resolved paths. `fs.` steps call `LayerFs` with paths that
 * follow symlinks. `file.` steps use one of three open files. `layer.` steps call the driver. Each character of a path
 * is a byte.
 */
export type Step = RawStep | FsStep | FileStep | LayerStep

export type RawStep =
  | {
      readonly do: 'write'
      readonly path: string
      readonly flags: string
      readonly mode: number
      readonly at: number
      readonly content: string
    }
  | {
      readonly do: 'read' | 'lstat' | 'readdir' | 'readlink' | 'listxattr' | 'rmdir' | 'unlink'
      readonly path: string
    }
  | { readonly do: 'mkdir' | 'chmod'; readonly path: string; readonly mode: number }
  | { readonly do: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly do: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly do: 'mknod'
      readonly path: string
      readonly type: 'fifo' | 'socket' | 'char' | 'block'
      readonly mode: number
      readonly minor: number
    }
  | { readonly do: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly do: 'utimes'; readonly path: string; readonly mtimeNs: bigint }
  | { readonly do: 'truncate'; readonly path: string; readonly size: number }
  | {
      readonly do: 'setxattr'
      readonly path: string
      readonly name: string
      readonly value: string
      readonly flag?: 'create' | 'replace'
    }
  | { readonly do: 'getxattr' | 'removexattr'; readonly path: string; readonly name: string }

export type FsStep =
  | { readonly do: 'fs.writeFile' | 'fs.appendFile'; readonly path: string; readonly content: string }
  | {
      readonly do: 'fs.writeStream'
      readonly path: string
      readonly start?: number
      readonly content: string
    }
  | { readonly do: 'fs.readStream'; readonly path: string; readonly start: number; readonly end: number }
  | {
      readonly do:
        | 'fs.readFile'
        | 'fs.stat'
        | 'fs.realpath'
        | 'fs.readdir'
        | 'fs.mkdirs'
        | 'fs.rm'
        | 'fs.unlink'
        | 'fs.rmdir'
        | 'fs.readlink'
      readonly path: string
    }
  | { readonly do: 'fs.copyFile' | 'fs.rename' | 'fs.link'; readonly path: string; readonly to: string }
  | { readonly do: 'fs.symlink'; readonly path: string; readonly target: string }
  | { readonly do: 'fs.mkdir' | 'fs.chmod' | 'fs.access'; readonly path: string; readonly mode: number }
  | {
      readonly do: 'fs.chown' | 'fs.lchown'
      readonly path: string
      readonly uid: number
      readonly gid: number
    }
  | { readonly do: 'fs.utimes' | 'fs.lutimes'; readonly path: string; readonly mtimeNs: bigint }
  | { readonly do: 'fs.truncate'; readonly path: string; readonly size: number }
  /** Two calls. The second starts before the first has ended. */
  | { readonly do: 'fs.both'; readonly steps: readonly [FsStep, FsStep] }

export type FileStep =
  | {
      readonly do: 'file.open'
      readonly file: number
      readonly path: string
      readonly flags: string
    }
  | { readonly do: 'file.read'; readonly file: number; readonly at?: number; readonly length: number }
  | { readonly do: 'file.write'; readonly file: number; readonly at?: number; readonly content: string }
  | { readonly do: 'file.writeFile'; readonly file: number; readonly content: string }
  | { readonly do: 'file.truncate'; readonly file: number; readonly size: number }
  | { readonly do: 'file.chmod'; readonly file: number; readonly mode: number }
  | { readonly do: 'file.chown'; readonly file: number; readonly uid: number; readonly gid: number }
  | { readonly do: 'file.utimes'; readonly file: number; readonly mtimeNs: bigint }
  | { readonly do: 'file.readFile' | 'file.stat' | 'file.sync' | 'file.close'; readonly file: number }

/** Layers are numbered in order of creation, beginning with the two of the fixture. */
export type LayerStep =
  /**
   * Makes a layer of the container and enters a new container on it. The layer is made `in place`, by `adopt`, from the
   * container's diff, or from the diff of the other side.
   */
  | { readonly do: 'layer.commit'; readonly how: 'in place' | 'adopt' | 'diff' | 'diff of the other' }
  /** Creates and enters a container on a layer. */
  | { readonly do: 'layer.container'; readonly on: number }
  | { readonly do: 'layer.enter' | 'layer.remove'; readonly layer: number }
  /** Lists the changes from a layer that need not be the parent. */
  | { readonly do: 'layer.compare'; readonly layer: number }
  | { readonly do: 'layer.get'; readonly volatile: boolean }
  /** Closes the driver and opens it again. If the rules allow interchange, each side opens the root of the other. */
  | { readonly do: 'layer.reopen' }

/** The steps as code that can be pasted into a test. */
export function showSteps(steps: readonly Step[]): string {
  return `[\n${steps.map((step) => `  ${showStep(step)},`).join('\n')}\n]`
}

export function showStep(step: Step): string {
  return `{ ${Object.entries(step)
    .map(([key, value]) => `${key}: ${showValue(key, value)}`)
    .join(', ')} }`
}

function showValue(key: string, value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((each) => showStep(each as Step)).join(', ')}]`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number') return key === 'mode' ? `0o${value.toString(8)}` : String(value)
  if (typeof value !== 'string') return String(value)
  const escaped = JSON.stringify(value).slice(1, -1).replaceAll("'", "\\'").replaceAll('\\"', '"')
  // oxlint-disable-next-line no-control-regex
  return `'${escaped.replaceAll(/[^\x20-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)}'`
}
