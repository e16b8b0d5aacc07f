import { chmod, mkdir, open, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The calls that workloads make on files, of a `LayerFs` or of Node on a host directory. Paths begin with `/`. */
export interface Files {
  open(path: string, flags: string): Promise<OpenFile>
  writeFile(path: string, data: Uint8Array): Promise<void>
  readdir(path: string): Promise<string[]>
  mkdir(path: string, options: { readonly recursive: true }): Promise<unknown>
  rm(path: string, options: { readonly recursive: true; readonly force: true }): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  unlink(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
}

interface OpenFile {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<unknown>
  write(data: Uint8Array, offset: number, length: number, position: number | null): Promise<unknown>
  close(): Promise<void>
}

export function hostFiles(root: string): Files {
  return {
    open: (path, flags) => open(join(root, path), flags),
    writeFile: (path, data) => writeFile(join(root, path), data),
    readdir: (path) => readdir(join(root, path)),
    mkdir: (path, options) => mkdir(join(root, path), options),
    rm: (path, options) => rm(join(root, path), options),
    chmod: (path, mode) => chmod(join(root, path), mode),
    unlink: (path) => unlink(join(root, path)),
    rename: (from, to) => rename(join(root, from), join(root, to)),
  }
}
