import type { LayerFs } from '#layerstack/index.js'
import type { Change } from '../fixtures/change.js'

/** Makes the changes through a container's filesystem, as `applyChanges` makes them in a host directory. */
export async function changeContainer(fs: LayerFs, changes: readonly Change[]): Promise<void> {
  for (const change of changes) {
    await changeOnce(fs, change).catch((error: unknown) => {
      throw new Error(`change failed: ${JSON.stringify(change)}`, { cause: error })
    })
  }
}

async function changeOnce(fs: LayerFs, change: Change): Promise<void> {
  switch (change.op) {
    case 'write':
      await fs.writeFile(bytes(change.path), bytes(change.content))
      if (change.mode !== undefined) await fs.chmod(bytes(change.path), change.mode)
      return
    case 'append':
      return fs.appendFile(bytes(change.path), bytes(change.content))
    case 'writeAt': {
      await using file = await fs.open(bytes(change.path), 'r+')
      const content = bytes(change.content)
      await file.write(content, 0, content.length, change.offset)
      return
    }
    case 'truncate':
      return fs.truncate(bytes(change.path), change.size)
    case 'remove':
      return fs.rm(bytes(change.path), { recursive: true })
    case 'mkdir':
      await fs.mkdir(bytes(change.path))
      return fs.chmod(bytes(change.path), change.mode)
    case 'chmod':
      return fs.chmod(bytes(change.path), change.mode)
    case 'chown':
      return fs.lchown(bytes(change.path), change.uid, change.gid)
    case 'rename':
      return fs.rename(bytes(change.from), bytes(change.to))
    case 'symlink':
      return fs.symlink(bytes(change.target), bytes(change.path))
    case 'link':
      return fs.link(bytes(change.existing), bytes(change.path))
    case 'fifo':
      await fs.mknod(bytes(change.path), 'fifo')
      return fs.chmod(bytes(change.path), change.mode)
    case 'device':
      await fs.mknod(bytes(change.path), change.type, { major: change.major, minor: change.minor })
      return fs.chmod(bytes(change.path), change.mode)
    case 'setxattr':
      return fs.setxattr(bytes(change.path), change.name, Buffer.from(change.valueHex, 'hex'))
    case 'utimes':
      return fs.lutimes(bytes(change.path), change.seconds, change.seconds)
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
