/**
 * @module-tag every-identity
 * @module-tag thorough
 */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Container, type Store } from '#layerstack/index.js'
import { giveDefaultAcl, noAcls } from '../support/acl.js'
import { unless } from '../support/needs.js'
import { digestOf, imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings } from './settings.js'

/**
 * An image depends only on the calls that made it. The digests below do not depend on the driver, the engine, the
 * user, koffi, the umask, the parent directory of the root, or the time.
 */
const COMMITTED = 'sha256:e6b1ea15389aae0b5e46bd93825d8f2aa9f06660b52da1a46ab1ddfb8f40b645'
const DIFF = 'sha256:67b6f0ea3a375d5b1dfafc5181b7a1b4685139963ecc43cb007e09bcbd7e586e'
const FLATTENED = 'sha256:378460cc5bcfb5b024b82748d2bb25d064074ac93e39c93190b90eb59d800a6c'

const base = await layerTar([
  { name: 'etc/motd', content: 'hello\n' },
  { name: 'deep/below/implied/parents', content: 'x' },
  { name: 'gone', content: 'soon\n' },
])

let scratch: string

beforeAll(() => {
  process.env['SOURCE_DATE_EPOCH'] = '1700000000'
})

afterAll(() => {
  delete process.env['SOURCE_DATE_EPOCH']
})

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-same-'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

for (const settings of storeSettings) {
  describe(`image digests on ${settings.name}`, unless(settings.reason), () => {
    const opened = (parent: string): Promise<Store> =>
      openStore({ root: join(parent, 'root'), ...optionsOf(settings) })

    it('are equal after equal calls', async () => {
      expect(await digestsIn(await opened(plainDirectory()))).toEqual(EXPECTED)
    })

    it('do not depend on a strict umask and the parent directory of the root', async () => {
      const umask = process.umask(0o077)
      try {
        expect(await digestsIn(await opened(leakingDirectory()))).toEqual(EXPECTED)
      } finally {
        process.umask(umask)
      }
    })

    it('do not depend on an open umask', async () => {
      const umask = process.umask(0)
      try {
        expect(await digestsIn(await opened(plainDirectory()))).toEqual(EXPECTED)
      } finally {
        process.umask(umask)
      }
    })
  })
}

const EXPECTED = {
  committed: COMMITTED,
  again: COMMITTED,
  consumed: COMMITTED,
  diff: DIFF,
  flattened: FLATTENED,
  clean: true,
}

async function digestsIn(opened: Store): Promise<unknown> {
  await using store = opened
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([base]))
  await store.load(archive)
  const first = await madeIn(store)
  const diff = digestOf(await collected(first.diff()))
  const { id: committed } = await first.commit({ reference: 'test/app:2' })
  const { id: again } = await first.commit()
  const { id: consumed } = await (await madeIn(store)).commit({ consume: true })
  const { id: flattened } = await store.flatten('test/app:2')
  const { clean } = await store.check()
  return { committed, again, consumed, diff, flattened, clean }
}

/** A container with one change of each kind. */
async function madeIn(store: Store): Promise<Container> {
  const container = await store.createContainer('test/app:1')
  const { fs } = container
  await fs.writeFile('/plain', 'plain')
  await fs.writeFile('/program', '#!/bin/sh\n', { mode: 0o755 })
  await fs.writeFile('/shared', '', { mode: 0o666 })
  await fs.mkdir('/directory/in/another', { recursive: true })
  await fs.mkdir('/tmp', { mode: 0o1777 })
  await fs.mkdir('/group')
  await fs.chown('/group', 0, 1000)
  await fs.chmod('/group', 0o2775)
  await fs.writeFile('/group/inherits', 'the group')
  await fs.mkdir('/group/also')
  await fs.symlink('plain', '/link')
  await fs.link('/plain', '/twin')
  await fs.mknod('/fifo', 'fifo')
  await fs.mknod('/device', 'char', { mode: 0o660, major: 1, minor: 3 })
  await fs.writeFile('/given', 'to somebody')
  await fs.chown('/given', 1000, 70_000)
  await fs.chown('/given', -1, 1001)
  await fs.lchown('/link', 1000, -1)
  await fs.chmod('/given', 0o4711)
  await fs.setxattr('/given', 'user.colour', 'green')
  await fs.appendFile('/etc/motd', 'more\n')
  await fs.writeFile('/deep/below/new', '')
  await fs.writeFile('/old', 'older than the rest')
  await fs.utimes('/old', 1_500_000_000n * 1_000_000_000n, 1_500_000_000_123_456_789n)
  await fs.rm('/gone')
  await fs.rename('/shared', '/moved')
  await sleep(5)
  return container
}

function plainDirectory(): string {
  const directory = join(scratch, 'plain')
  mkdirSync(directory)
  chmodSync(directory, 0o755)
  return directory
}

/** New files inherit its group and a default ACL, if this process may set them. */
function leakingDirectory(): string {
  const directory = join(scratch, 'leaking')
  mkdirSync(directory)
  if (process.getuid?.() === 0) chownSync(directory, 0, 4321)
  chmodSync(directory, 0o2777)
  if (noAcls === undefined) giveDefaultAcl(directory)
  return directory
}

async function collected(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
