import type { LayerFs } from '../fs/facade/layer-fs.js'

/**
 * A change to a tree, as data, so that the same list can be applied to a driver's view and to a plain reference. Paths
 * start with `/`. Symlinks on the way are followed, the last component is not.
 *
 * The default mode is 0644, or 0755 for a directory. The default device number is 0:0. A file's content is stored as
 * UTF-8; a character of an xattr's value is one byte.
 */
export type Edit =
  /** A new regular file. */
  | { readonly do: 'create'; readonly path: string; readonly content: string; readonly mode?: number }
  | { readonly do: 'append'; readonly path: string; readonly content: string }
  /** Overwrites bytes in the middle of a file, from `at`. */
  | { readonly do: 'patch'; readonly path: string; readonly at: number; readonly content: string }
  /** As editors save: writes a new file under another name and renames it onto the old one. */
  | { readonly do: 'replace'; readonly path: string; readonly content: string; readonly mode?: number }
  | { readonly do: 'truncate'; readonly path: string; readonly size: number }
  | { readonly do: 'mkdir'; readonly path: string; readonly mode?: number }
  /** Removes recursively. A no-op if nothing exists at `path`. */
  | { readonly do: 'remove'; readonly path: string }
  | { readonly do: 'rename'; readonly path: string; readonly to: string }
  | { readonly do: 'link'; readonly path: string; readonly to: string }
  | { readonly do: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly do: 'mknod'
      readonly path: string
      readonly type: 'fifo' | 'char' | 'block'
      readonly mode?: number
      readonly major?: number
      readonly minor?: number
    }
  | { readonly do: 'chmod'; readonly path: string; readonly mode: number }
  | { readonly do: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  /** The mtime, in nanoseconds since 1970. */
  | { readonly do: 'mtime'; readonly path: string; readonly ns: bigint }
  | { readonly do: 'setxattr'; readonly path: string; readonly name: string; readonly value: string }
  | { readonly do: 'removexattr'; readonly path: string; readonly name: string }

/**
 * Applies the edits one at a time, in order. Rejects with the error of the first edit that fails; earlier edits stay.
 *
 * @example
 * ```ts
 * import { applyEdits } from 'layerstack/conformance'
 *
 * await applyEdits(container.fs, [
 *   { do: 'create', path: '/page', content: 'hello\n', mode: 0o600 },
 *   { do: 'symlink', path: '/index', target: 'page' },
 * ])
 * ```
 */
export async function applyEdits(fs: LayerFs, edits: readonly Edit[]): Promise<void> {
  for (const edit of edits) await applyEdit(fs, edit)
}

async function applyEdit(fs: LayerFs, edit: Edit): Promise<void> {
  const { path } = edit
  switch (edit.do) {
    case 'create':
      await fs.writeFile(path, edit.content, { flag: 'wx' })
      return fs.chmod(path, edit.mode ?? 0o644)
    case 'append':
      return fs.appendFile(path, edit.content)
    case 'patch':
      return patch(fs, path, edit.at, edit.content)
    case 'replace':
      await fs.writeFile(`${path}.new`, edit.content, { flag: 'wx' })
      await fs.chmod(`${path}.new`, edit.mode ?? 0o644)
      return fs.rename(`${path}.new`, path)
    case 'truncate':
      return fs.truncate(path, edit.size)
    case 'mkdir':
      await fs.mkdir(path)
      return fs.chmod(path, edit.mode ?? 0o755)
    case 'remove':
      return fs.rm(path, { recursive: true, force: true })
    case 'rename':
      return fs.rename(path, edit.to)
    case 'link':
      return fs.link(path, edit.to)
    case 'symlink':
      return fs.symlink(edit.target, path)
    case 'mknod':
      await fs.mknod(path, edit.type, { major: edit.major ?? 0, minor: edit.minor ?? 0 })
      return fs.chmod(path, edit.mode ?? 0o644)
    case 'chmod':
      return fs.chmod(path, edit.mode)
    case 'chown':
      return fs.lchown(path, edit.uid, edit.gid)
    case 'mtime':
      return fs.lutimes(path, edit.ns, edit.ns)
    case 'setxattr':
      return fs.setxattr(path, edit.name, Buffer.from(edit.value, 'latin1'))
    case 'removexattr':
      return fs.removexattr(path, edit.name)
  }
}

async function patch(fs: LayerFs, path: string, at: number, content: string): Promise<void> {
  await using file = await fs.open(path, 'r+')
  await file.write(content, at)
}
