import { existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Store } from '#layerstack/index.js'
import { isAlive } from '#layerstack/sys/process-mark.js'

/**
 * What interrupted calls left in a root and what no living process can own: temporary names, and layers of the driver
 * that nothing names. The caller is the only process that has the store open, and has no call under way.
 */
export async function leftoversOf(store: Store): Promise<string[]> {
  return [...(await orphans(store)), ...temporaryNames(store)]
}

async function orphans(store: Store): Promise<string[]> {
  const layers = await store.layers.list()
  const writables = await store.layers.writables.list()
  const named = new Set([...layers.map(({ cacheId }) => cacheId), ...writables.map(({ mountId }) => mountId)])
  const kept = await store.driver.list()
  const records = new Set((await store.containers()).map(({ id }) => id))
  return [
    ...kept.filter((id) => !named.has(id)).map((id) => `the driver keeps layer ${id}, which nothing names`),
    ...writables
      .filter(({ name }) => !records.has(name))
      .map(({ name }) => `writable layer ${name} has no record`),
  ]
}

/** Names in directories of the store's own. Those inside layers belong to the layers. */
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
  const isAside = (entry: string, path: string): boolean =>
    /^\.tmp-|\.stale$|\.making$|\.new$/.test(entry) ||
    (entry.endsWith('.held') && !isAlive(readFileSync(path, 'utf8')))
  look(join(image, 'layerdb', 'tmp'), () => true)
  look(join(image, 'layerdb', 'sha256'), (entry) => entry.includes('-'))
  look(join(image, 'layerdb', 'mounts'), isAside)
  look(join(image, 'imagedb', 'content', 'sha256'), isAside)
  look(
    join(image, 'imagedb', 'metadata', 'sha256'),
    (entry) => !existsSync(join(image, 'imagedb/content/sha256', entry)),
  )
  look(image, isAside)
  look(own, isAside)
  look(join(own, 'consuming', name), (entry) => !/^lock(\.queue)?$/.test(entry))
  look(join(own, 'tmp'), () => true)
  look(join(own, 'containers', name), isAside)
  look(join(own, 'leases', name), (entry) => entry !== 'spare')
  look(join(own, 'holds', name), (entry) => entry !== '.lock')
  look(join(root, 'overlay2', 'l'), (entry, path) => entry.includes('.') || !existsSync(path))
  look(join(root, 'overlay2'), (entry, path) => isHalfMade(entry) || isAside(entry, path))
  look(join(root, 'vfs', 'dir'), isHalfMade)
  look(join(root, 'btrfs'), isAside)
  look(join(root, 'btrfs', 'subvolumes'), isHalfMade)
  look(join(root, 'devicemapper', 'metadata'), isAside)
  for (const id of existsSync(join(root, 'overlay2')) ? readdirSync(join(root, 'overlay2')) : []) {
    const layer = join(root, 'overlay2', id)
    if (id === 'l' || !lstatSync(layer).isDirectory()) continue
    look(layer, isAside)
    if (!existsSync(join(layer, 'link'))) found.push(`overlay2/${id} is half made`)
  }
  return found
}

function isHalfMade(entry: string): boolean {
  return entry.endsWith('-making') || entry.endsWith('-removing')
}
