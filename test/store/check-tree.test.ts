/**
 * @module-tag every-identity
 * @module-tag thorough
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openStore, type LayerFs, type Store } from '#layerstack/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings } from './settings.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const BASE = await layerTar([
  { name: 'inherited', content: 'inherited' },
  { name: 'hidden', content: 'hidden' },
  { name: 'below/', type: 'directory', mode: 0o755 },
  { name: 'below/file', content: 'below' },
])

/** Each kind of damage: the change to the upper layer, and the detail that check() reports. */
const damages: Readonly<
  Record<string, readonly [damage: (fs: LayerFs) => Promise<unknown>, detail: RegExp]>
> = {
  'appended bytes': [(fs) => timed(fs, 'file', () => fs.appendFile('file', 'x')), /\/file: size 5 instead/],
  'changed bytes': [(fs) => timed(fs, 'file', () => fs.writeFile('file', 'elif')), /content has changed/],
  'a removed empty file': [(fs) => fs.rm('empty'), /\/empty: is missing/],
  'a removed directory': [(fs) => fs.rmdir('directory'), /\/directory: is missing/],
  'a symlink with another target': [
    async (fs) => {
      await fs.rm('symlink')
      await fs.symlink('elif', 'symlink')
    },
    /\/symlink: target "elif" instead of "file"/,
  ],
  'a set-user-ID bit': [(fs) => fs.chmod('empty', 0o4755), /\/empty: mode 4755 instead of 644/],
  'another owner': [(fs) => fs.lchown('symlink', 1, 2), /\/symlink: owner 1:2 instead of 0:0/],
  'an extra file': [(fs) => fs.writeFile('extra', ''), /\/extra: is not in the tar/],
  'an extra file in a directory of the base': [
    (fs) => fs.writeFile('below/extra', ''),
    /\/below(\/extra)?: is not in the tar/,
  ],
  'a symlink to equal bytes': [
    async (fs) => {
      await fs.rename('file', 'directory/file')
      await fs.symlink('directory/file', 'file')
    },
    /\/file: type symlink instead of file/,
  ],
  'another time': [(fs) => fs.utimes('empty', 1, 2), /\/empty: mtime 2 instead of 1600000000/],
  'another time of a directory': [(fs) => fs.utimes('directory', 1, 2), /\/directory: mtime 2 instead/],
  'an xattr': [(fs) => fs.setxattr('file', 'user.x', Buffer.from('y')), /\/file: unexpected xattr user\.x/],
  'a hard link replaced by a copy': [
    async (fs) => {
      await timed(fs, 'linked', () => fs.rm('linked').then(() => fs.writeFile('linked', 'one')))
    },
    /\/(linked|one): is not a hard link to the expected file/,
  ],
  'a removed file of the base restored': [
    async (fs) => fs.writeFile('hidden', 'hidden'),
    /\/hidden: is not in the tar/,
  ],
  'a changed file of the base': [
    (fs) => timed(fs, 'inherited', () => fs.appendFile('inherited', 'x')),
    /\/inherited: (is not in the tar|size 10 instead of 9)/,
  ],
  'a removed file of the base': [
    (fs) => fs.rm('inherited'),
    /\/inherited: (is missing|is hidden, but the layer keeps it)/,
  ],
  'another mode of the root': [(fs) => fs.chmod('/', 0o700), /\/: mode 700 instead of 755/],
}

for (const settings of storeSettings) {
  it(
    `check() reports each difference between a layer's tree and its tar on ${settings.name}`,
    unless(settings.reason),
    async () => {
      const scratch = mkdtempSync(join(tmpdir(), 'layerstack-check-tree-'))
      try {
        await using store = await openStore({ root: join(scratch, 'root'), ...optionsOf(settings) })
        const chains = new Map<string, string>()
        for (const name of Object.keys(damages)) {
          chains.set(await loaded(store, join(scratch, 'image.tar'), name), name)
        }
        expect((await store.check()).problems).toEqual([])
        for (const [chain, name] of chains) await damage(store, chain, name)
        const { problems } = await store.check()
        const details = new Map(problems.map(({ id, detail }) => [chains.get(id), detail]))
        for (const [name, [, detail]] of Object.entries(damages)) {
          expect.soft(`${name}: ${details.get(name)}`).toMatch(detail)
        }
      } finally {
        await removeTree(scratch)
      }
    },
  )
}

async function loaded(store: Store, path: string, name: string): Promise<string> {
  const upper = await layerTar([
    { name: 'file', content: 'file' },
    { name: 'empty' },
    { name: 'directory/', type: 'directory', mode: 0o755 },
    { name: 'symlink', type: 'symlink', linkname: 'file' },
    { name: 'one', content: 'one' },
    { name: 'linked', type: 'link', linkname: 'one' },
    { name: '.wh.hidden' },
    { name: 'name', content: name },
  ])
  await writeArchive(path, imageOf([BASE, upper], 'app:1'))
  const [image] = await store.load(path)
  return image?.chainId as string
}

async function damage(store: Store, chain: string, name: string): Promise<void> {
  const { cacheId } = await layersOf(store).require(chain as never)
  const { fs } = await driverOf(store).get(cacheId)
  await damages[name]?.[0](fs)
  await driverOf(store).put(cacheId)
}

/** Restores the times of the file after the change. */
async function timed(fs: LayerFs, path: string, change: () => Promise<unknown>): Promise<void> {
  const { atimeNs, mtimeNs } = await fs.lstat(path, { bigint: true })
  await change()
  await fs.lutimes(path, atimeNs, mtimeNs)
}
