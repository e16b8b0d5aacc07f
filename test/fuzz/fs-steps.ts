import { text } from 'node:stream/consumers'
import { finished } from 'node:stream/promises'
import type { LayerFileHandle, LayerFs, LayerStats } from '#layerstack/fs/facade/layer-fs.js'
import { sorted } from './raw-steps.js'
import type { FileStep, FsStep } from './step.js'

type Shown = (stat: LayerStats) => string

/** Takes a step. @returns its result as text; `shown` formats the compared fields of a stat */
export async function takeFs(fs: LayerFs, step: FsStep, shown: Shown): Promise<unknown> {
  if (step.do === 'fs.both') {
    const [one, other] = step.steps.map((each) => outcome(() => takeFs(fs, each, shown)))
    return `${await one}; ${await other}`
  }
  const path = pathOf(step.path)
  switch (step.do) {
    case 'fs.writeFile':
      return fs.writeFile(path, step.content)
    case 'fs.appendFile':
      return fs.appendFile(path, step.content)
    case 'fs.writeStream': {
      const { start } = step
      const stream = fs.createWriteStream(path, start === undefined ? {} : { flags: 'r+', start })
      stream.write(step.content)
      stream.end(step.content)
      return finished(stream)
    }
    case 'fs.readStream':
      return text(fs.createReadStream(path, { start: step.start, end: step.end, highWaterMark: 1000 }))
    case 'fs.readFile':
      return fs.readFile(path, 'latin1')
    case 'fs.stat':
      return shown(await fs.stat(path))
    case 'fs.realpath':
      return fs.realpath(path)
    case 'fs.readdir': {
      const entries = await fs.readdir(path, { withFileTypes: true, recursive: true })
      return sorted(entries.map((entry) => `${entry.parentPath}/${entry.name} ${entry.type}`))
    }
    case 'fs.readlink':
      return fs.readlink(path)
    case 'fs.mkdirs':
      return fs.mkdir(path, { recursive: true })
    case 'fs.mkdir':
      return fs.mkdir(path, step.mode)
    case 'fs.rm':
      return fs.rm(path, { recursive: true, force: true })
    case 'fs.unlink':
      return fs.unlink(path)
    case 'fs.rmdir':
      return fs.rmdir(path)
    case 'fs.copyFile':
      return fs.copyFile(path, pathOf(step.to))
    case 'fs.rename':
      return fs.rename(path, pathOf(step.to))
    case 'fs.link':
      return fs.link(path, pathOf(step.to))
    case 'fs.symlink':
      return fs.symlink(Buffer.from(step.target, 'latin1'), path)
    case 'fs.chmod':
      return fs.chmod(path, step.mode)
    case 'fs.access':
      return fs.access(path, step.mode)
    case 'fs.chown':
      return fs.chown(path, step.uid, step.gid)
    case 'fs.lchown':
      return fs.lchown(path, step.uid, step.gid)
    case 'fs.utimes':
      return fs.utimes(path, 0n, step.mtimeNs)
    case 'fs.lutimes':
      return fs.lutimes(path, 0n, step.mtimeNs)
    case 'fs.truncate':
      return fs.truncate(path, step.size)
  }
}

export async function takeFile(
  handle: LayerFileHandle,
  step: Exclude<FileStep, { do: 'file.open' }>,
  shown: Shown,
): Promise<unknown> {
  switch (step.do) {
    case 'file.read': {
      const { bytesRead, buffer } = await handle.read(
        Buffer.alloc(step.length),
        0,
        step.length,
        step.at ?? null,
      )
      return Buffer.from(buffer.subarray(0, bytesRead)).toString('latin1')
    }
    case 'file.write':
      return (await handle.write(Buffer.from(step.content), 0, null, step.at ?? null)).bytesWritten
    case 'file.writeFile':
      return handle.writeFile(step.content)
    case 'file.readFile':
      return handle.readFile('latin1')
    case 'file.truncate':
      return handle.truncate(step.size)
    case 'file.chmod':
      return handle.chmod(step.mode)
    case 'file.chown':
      return handle.chown(step.uid, step.gid)
    case 'file.utimes':
      return handle.utimes(0n, step.mtimeNs)
    case 'file.stat':
      return shown(await handle.stat())
    case 'file.sync':
      return handle.sync()
    case 'file.close':
      return handle.close()
  }
}

/** `ok` and the result, or the error code, with the call and paths of the error unless they are those of the host. */
export async function outcome(work: () => unknown, withPaths = true): Promise<string> {
  try {
    const result = await work()
    return result === undefined ? 'ok' : `ok: ${String(result)}`
  } catch (error) {
    const { code, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string }
    if (code === undefined) throw error
    if (!withPaths) return code
    return [code, syscall, path, dest].filter((word) => word !== undefined).join(' ')
  }
}

export function pathOf(path: string): Buffer {
  return Buffer.from(`/${path}`, 'latin1')
}
