import { mkdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { openStore } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'

/** Creates the values that a snippet may use without declaring them, in the working directory. */
export async function given() {
  const base = await layerTar([
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/motd', content: 'welcome\n' },
    { name: 'usr/share/doc/README', content: 'read me\n' },
  ])
  await writeArchive('image.tar', imageOf([base], 'team/app:1'))
  writeFileSync('rootfs.tar', base)
  const store = await openStore({ root: 'given' })
  await store.load('image.tar')
  const container = await store.createContainer('team/app:1')
  await container.fs.writeFile('/etc/new', 'new\n')
  mkdirSync('given-driver')
  const driver = await vfs.open({ root: resolve('given-driver'), engine: 'auto', readOnly: false })
  const app = await layerTar([{ name: 'bin/', type: 'directory' }])
  return { store, container, driver, baseTar: chunks(base), appTar: chunks(app) }
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}
