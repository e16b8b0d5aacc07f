import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings } from '../store/settings.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'

const MB = 1 << 20
const anywhere = storeSettings.filter(({ name }) => /in userspace$|^vfs$/.test(name))
const variants = anywhere.flatMap((settings) =>
  (['tmpfs', 'ext4'] as const).map((type) => ({ ...settings, type })),
)
const canCheck = notInstalled('thin_check') === undefined

let scratch: string
let disk: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-full-host-'))
  disk = join(scratch, 'disk')
  mkdirSync(disk)
})

afterEach(async () => {
  await unmountBelow(scratch)
  rmSync(scratch, { recursive: true, force: true })
})

describe.each(variants)('$name on a $type without a free block', unless(noMounts), (settings) => {
  beforeEach(async () => {
    if (settings.type === 'tmpfs') {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${48 * MB}`, 'layerstack-test', disk])
      return
    }
    const image = join(scratch, 'image')
    closeSync(openSync(image, 'w'))
    truncateSync(image, 48 * MB)
    await run('mkfs.ext4', ['-q', '-m', '0', image])
    await run('mount', ['-o', 'loop', image, disk])
  })

  it('rejects writes and commits, keeps existing data, and works again after a removal', async () => {
    {
      await using store = await open()
      const [image] = await store.load(await archive())
      await using container = await store.createContainer(image?.id ?? '')
      await container.fs.writeFile('/kept', Buffer.alloc(2 * MB, 1))
      const other = await store.createContainer(image?.id ?? '')
      await other.fs.writeFile('/other', Buffer.alloc(6 * MB, 2))
      await other.unmount()
      fill()

      await expect(container.fs.writeFile('/more', Buffer.alloc(8 * MB, 3))).rejects.toMatchObject({
        code: 'ENOSPC',
      })
      await expect(container.commit({ reference: 'full:1' })).rejects.toMatchObject({ code: 'NO_SPACE' })
      expect((await container.fs.readFile('/kept')).equals(Buffer.alloc(2 * MB, 1))).toBe(true)
      expect((await container.fs.readFile('/base')).equals(Buffer.alloc(MB, 'b'))).toBe(true)
      expect((await store.check()).problems).toEqual([])

      await other.remove()
      await container.fs.writeFile('/small', 'small')
      expect(await container.fs.readFile('/small', 'utf8')).toBe('small')
      fill()
    }
    await expectSound()
    rmSync(filler)
    await using store = await open()
    const [record] = await store.containers()
    await using container = await store.openContainer(record?.id ?? '')
    expect((await container.fs.readFile('/kept')).equals(Buffer.alloc(2 * MB, 1))).toBe(true)
    await container.fs.writeFile('/more', Buffer.alloc(8 * MB, 3))
    await container.commit({ reference: 'full:1' })
    expect((await store.check()).problems).toEqual([])
    await store.close()
    await expectSound()
  })

  function open(): Promise<Store> {
    return openStore({ root: join(disk, 'root'), ...optionsOf(settings) })
  }

  async function expectSound(): Promise<void> {
    if (settings.driver !== 'devicemapper' || !canCheck) return
    await run('thin_check', [join(disk, 'root/devicemapper/devicemapper/metadata')])
  }
})

let filler = ''

/** Fills the disk until not even 512 bytes can be written. */
function fill(): void {
  filler = join(disk, 'filler')
  const fd = openSync(filler, 'a')
  for (let size = MB; size >= 512;) {
    try {
      writeSync(fd, Buffer.alloc(size, 'f'))
    } catch {
      size /= 2
    }
  }
  closeSync(fd)
}

async function archive(): Promise<string> {
  const path = join(scratch, 'image.tar')
  const layer = await layerTar([{ name: 'base', content: 'b'.repeat(MB) }])
  await writeArchive(path, imageOf([layer], 'image:1'))
  return path
}
