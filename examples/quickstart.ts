/**
 * The whole path, in a root below the system's temporary directory: load an image, write to a container, look at what
 * changed, commit, flatten, save. `npm run quickstart -- image.tar` takes an archive of your own.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore, type Image, type Store } from 'layerstack'
import { rootfs } from './rootfs.js'

const [archive] = process.argv.slice(2)
const directory = await mkdtemp(join(tmpdir(), 'layerstack-quickstart-'))

try {
  await using store = await openStore({ root: join(directory, 'root') })
  const { name, engine } = store.driver
  heading(`A store on ${name} (${engine} engine)`)
  for (const refusal of store.refused) console.log(`not ${refusal.name}: ${refusal.reason}`)
  for (const [key, value] of await store.status()) console.log(`${key}: ${value}`)

  heading('An image')
  const image = await timed('loaded', () => firstImage(store))
  describe(image)

  heading('A container: one writable layer on top')
  const container = await timed('created', () => store.createContainer(image.id, { name: 'quickstart' }))
  await container.fs.mkdir('/srv/app', { recursive: true })
  await container.fs.writeFile('/srv/app/hello.sh', '#!/bin/sh\necho hello\n', { mode: 0o755 })
  await container.fs.mkdir('/etc', { recursive: true })
  await container.fs.appendFile('/etc/motd', 'changed in a container\n')
  for await (const { kind, path } of container.changes()) console.log(`${kind.padEnd(6)} ${path}`)
  console.log(`${bytes(await container.size())} written`)
  if (store.driver.capabilities.hostPath) console.log(`also at ${await container.mount()}`)

  heading('A commit: the writable layer becomes a layer of a new image')
  const child = await timed('committed', () =>
    container.commit({
      reference: 'quickstart:changed',
      config: ['CMD ["/srv/app/hello.sh"]'],
      consume: true,
    }),
  )
  describe(child)

  heading('A flatten: the same tree in one layer')
  const flat = await timed('flattened', () => store.flatten(child.id, { reference: 'quickstart:flat' }))
  describe(flat)

  heading('Archives that docker load, podman and skopeo take')
  for (const format of ['docker-archive', 'oci-archive'] as const) {
    const file = join(directory, `${format}.tar`)
    await timed(format, () => store.save(['quickstart:changed', 'quickstart:flat'], file, { format }))
    console.log(`${bytes((await stat(file)).size)} in ${format}.tar`)
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}

async function firstImage(store: Store): Promise<Image> {
  if (archive === undefined) return store.import(rootfs(), { reference: 'quickstart:base' })
  const [image] = await store.load(archive)
  if (image === undefined) throw new Error(`${archive} holds no image`)
  return image
}

function describe({ id, references, layers, size }: Image): void {
  console.log(`${id}  ${references.join(', ')}`)
  console.log(`${layers.length} ${layers.length === 1 ? 'layer' : 'layers'}, ${bytes(size)}`)
}

function heading(text: string): void {
  console.log(`\n── ${text}`)
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begun = performance.now()
  const result = await work()
  console.log(`${what} in ${Math.round(performance.now() - begun)} ms`)
  return result
}

function bytes(count: number): string {
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`
}
