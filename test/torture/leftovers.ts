import { existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Store } from '#layerstack/index.js'
import { isAlive } from '#layerstack/sys/process-mark.js'
import { driverOf, layersOf } from '../support/store-parts.js'

/**
 * Lists the leftovers of interrupted calls in a root: temporary names and orphans. The caller must be the only process
 * that has the store open, and must have no call in progress.
 */
export async function leftoversOf(store: Store): Promise<string[]> {
  return [...(await orphans(store)), ...temporaryNames(store)]
}

async function orphans(store: Store): Promise<string[]> {
  const layers = await layersOf(store).list()
  const writables = await layersOf(store).writables.list()
  const named = new Set([...layers.map(({ cacheId }) => cacheId), ...writables.map(({ mountId }) => mountId)])
  const kept = await driverOf(store).list()
  const records = new Set((await store.containers()).map(({ id }) => id))
  return [
    ...kept.filter((id) => !named.has(id)).map((id) => `driver layer ${id} is an orphan`),
    ...writables
      .filter(({ name }) => !records.has(name))
      .map(({ name }) => `writable layer ${name} has no record`),
  ]
}

/** Temporary names in the store's directories, but not inside layers. */
function temporaryNames(store: Store): string[] {
  const { root } = store
  const { name } = store.driver
  const found: string[] = []
  const look = (directory: string, isTemporary: (entry: string, path: string) => boolean): void => {
    if (!existsSync(directory)) return
    for (const entry of readdirSync(directory)) {
      const path = join(directory, entry)
      if (isTemporary(entry, path)) found.push(`${relative(root, path)} is left behind`)
    }
  }
  const image = join(root, 'image', name)
  const own = join(root, 'layerstack')
  const isTemporaryFile = (entry: string, path: string): boolean =>
    /^\.tmp-|\.stale$|\.making$|\.new$/.test(entry) ||
    (entry.endsWith('.held') && !isAlive(readFileSync(path, 'utf8')))
  look(join(image, 'layerdb', 'tmp'), () => true)
  look(join(image, 'layerdb', 'sha256'), (entry) => entry.includes('-'))
  look(join(image, 'layerdb', 'mounts'), isTemporaryFile)
  look(join(image, 'imagedb', 'content', 'sha256'), isTemporaryFile)
  look(
    join(image, 'imagedb', 'metadata', 'sha256'),
    (entry) => !existsSync(join(image, 'imagedb/content/sha256', entry)),
  )
  look(image, isTemporaryFile)
  look(own, isTemporaryFile)
  look(join(own, 'consuming', name), (entry) => !/^lock(\.queue)?$/.test(entry))
  look(join(own, 'tmp'), () => true)
  look(join(own, 'containers', name), isTemporaryFile)
  look(join(own, 'leases', name), (entry) => entry !== 'spare')
  look(join(own, 'holds', name), (entry) => entry !== '.lock')
  look(join(root, 'overlay2', 'l'), (entry, path) => entry.includes('.') || !existsSync(path))
  look(join(root, 'overlay2'), (entry, path) => isIncomplete(entry) || isTemporaryFile(entry, path))
  look(join(root, 'vfs', 'dir'), isIncomplete)
  look(join(root, 'btrfs'), isTemporaryFile)
  look(join(root, 'btrfs', 'subvolumes'), isIncomplete)
  look(join(root, 'devicemapper', 'metadata'), isTemporaryFile)
  for (const id of existsSync(join(root, 'overlay2')) ? readdirSync(join(root, 'overlay2')) : []) {
    const layer = join(root, 'overlay2', id)
    if (id === 'l' || !lstatSync(layer).isDirectory()) continue
    look(layer, isTemporaryFile)
    if (!existsSync(join(layer, 'link'))) found.push(`overlay2/${id} is incomplete`)
  }
  return found
}

function isIncomplete(entry: string): boolean {
  return entry.endsWith('-making') || entry.endsWith('-removing')
}
