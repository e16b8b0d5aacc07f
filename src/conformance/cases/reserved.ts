import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LayerView } from '../../drivers/driver.js'
import { isErrno, StoreError } from '../../errors.js'
import type { ByteString } from '../../fs/bytes.js'
import { HostFs } from '../../fs/host/host-fs.js'
import type { ConformanceCase } from '../case.js'
import type { Subject } from '../subject.js'

/**
 * Objects that have another meaning in a layer: `.wh.` names, character devices 0:0 and overlayfs xattrs. A driver may
 * refuse to make such an object. If it makes one, reading the layer's diff fails. The object never becomes a deletion
 * and is never lost.
 */
export const reserved: readonly ConformanceCase[] = [
  ...['.wh.keep', '.wh..wh..opq', '.wh..wh.plnk', '.wh.'].map((name) =>
    refused(`a file named ${name}`, `/keep/${name}`, (view) => view.fs.writeFile(`/keep/${name}`, 'data')),
  ),
  refused('a directory with a reserved name', '/.wh.keep', ({ fs }) => fs.mkdir('/.wh.keep')),
  refused('a file renamed to a reserved name', '/.wh.keep', ({ fs }) =>
    fs.rename('/keep/other', '/.wh.keep'),
  ),
  refused('a file with a reserved name, created by another program', '/.wh.keep', async ({ hostPath }) => {
    if (hostPath === undefined) return NOT_MADE
    writeFileSync(join(hostPath, '.wh.keep'), '')
    return undefined
  }),
  refused('a character device 0:0', '/device', ({ fs }) => fs.mknod('/device', 'char')),
  refused('a character device 0:0, created by another program', '/device', async ({ hostPath }) => {
    if (hostPath === undefined) return NOT_MADE
    using directory = new HostFs({ kind: 'host', root: hostPath })
    directory.mknod('device' as ByteString, 'char', 0o600, { major: 0, minor: 0 })
    return undefined
  }),
  ...['trusted.overlay.opaque', 'user.overlay.opaque', 'user.fuseoverlayfs.opaque'].map((name) =>
    refused(`the xattr ${name}`, '/keep', ({ fs }) => fs.setxattr('/keep', name, Buffer.from('y'))),
  ),
]

const NOT_MADE = 'not made'

function refused(what: string, path: string, make: (view: LayerView) => Promise<unknown>): ConformanceCase {
  return {
    name: `refuses ${what}, on creation or in a diff`,
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/keep' },
        { do: 'create', path: '/keep/file', content: 'kept' },
        { do: 'create', path: '/keep/other', content: 'other' },
      ])
      await subject.driver.createReadWrite('container', 'base')
      const isMade = await subject.inView('container', async (fs, view) => {
        const made = await attempt(() => make(view))
        assert.equal(await fs.readFile('/keep/file', 'utf8'), 'kept')
        return made
      })
      if (isMade) await mustRefuse(subject, path)
      assert.ok(!(await subject.changes('container', 'base')).includes('delete /keep/file'))
    },
  }
}

async function attempt(make: () => Promise<unknown>): Promise<boolean> {
  try {
    return (await make()) !== NOT_MADE
  } catch (error) {
    assert.ok(isErrno(error, 'EINVAL', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP'), String(error))
    return false
  }
}

async function mustRefuse(subject: Subject, path: string): Promise<void> {
  assert.ok((await subject.changes('container', 'base')).some((line) => line.endsWith(` ${path}`)))
  await subject.driver.diffSize('container', 'base')
  await assert.rejects(subject.diff('container', 'base'), (error: unknown) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, 'LAYER_INVALID')
    assert.equal(error.path, path)
    return true
  })
}
