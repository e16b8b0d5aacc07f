import { chainIds, type ChainID, type ImageID } from '../digest.js'
import { isAbort, StoreError } from '../errors.js'
import type { OperationOptions } from '../operation.js'
import { parseReference } from '../references/reference.js'
import type { Catalog } from './catalog.js'

export interface CheckOptions extends OperationOptions {
  /** Reads every layer back, byte for byte, and compares its DiffID. @default true */
  readonly content?: boolean | undefined
  /**
   * Takes away what is damaged, so that loading its image again brings it anew, and what nothing names. Nothing that is
   * whole is removed, and nothing that a container stands on. @default false
   */
  readonly repair?: boolean | undefined
}

/** Something that is not as it should be. `repaired`: it was taken away. */
export type Problem = ProblemKind & { readonly detail: string; readonly repaired: boolean }

type ProblemKind =
  /** The layer's files no longer give the bytes of its DiffID, or cannot be read, or its entry is damaged. */
  | { readonly kind: 'layer-damaged'; readonly id: ChainID }
  /** The layer stands on one that is damaged or not there. */
  | { readonly kind: 'layer-unfounded'; readonly id: ChainID }
  /** The driver keeps a layer that nothing names. */
  | { readonly kind: 'driver-orphan'; readonly id: string }
  /** A file of the driver's is damaged; what layers it is in is told by their own problems. Not repaired. */
  | { readonly kind: 'driver-damaged'; readonly id: string }
  /** The image's config is not what its ID says, or is none. */
  | { readonly kind: 'image-damaged'; readonly id: ImageID }
  /** The image's layers are not all here. Not repaired: loading it again brings them. */
  | { readonly kind: 'image-incomplete'; readonly id: ImageID }
  /** The reference points at no image. */
  | { readonly kind: 'reference-dangling'; readonly id: string }
  /** The list of references is none. Repaired, it is empty: images stay, their names are lost. */
  | { readonly kind: 'references-damaged'; readonly id: string }
  /**
   * The container's writable layer is not there, or its entry is damaged: repaired, the container is gone. Or it cannot be
   * opened, which is not repaired: something of it is still there. Or its record is damaged or gone, and it is no dockerd's:
   * repaired, it is named after its ID.
   */
  | { readonly kind: 'container-damaged'; readonly id: string }

export interface CheckReport {
  /** Nothing is wrong, or all that was is repaired. */
  readonly clean: boolean
  readonly problems: readonly Problem[]
  readonly layers: number
  readonly images: number
}

/** Looks at everything, the lowest first, and tells all that is wrong. */
export async function check(catalog: Catalog, options: CheckOptions): Promise<CheckReport> {
  const { repair = false } = options
  const problems: Problem[] = []
  const report = async (kind: ProblemKind, detail: string, mend?: () => Promise<unknown>): Promise<void> => {
    const repaired = repair && mend !== undefined && (await succeeds(mend))
    problems.push({ ...kind, detail, repaired })
  }
  const layers = await checkLayers(catalog, options, report)
  const images = await checkImages(catalog, options, report)
  await checkReferences(catalog, report)
  await checkContainers(catalog, report)
  return { clean: problems.every(({ repaired }) => repaired), problems, layers, images }
}

type Report = (kind: ProblemKind, detail: string, mend?: () => Promise<unknown>) => Promise<void>

async function checkLayers(catalog: Catalog, options: CheckOptions, report: Report): Promise<number> {
  const { layers } = catalog
  const ids = await layers.chainIds()
  const bad = new Map<ChainID, string>()
  const unfounded: ChainID[] = []
  for (const id of ids) {
    const faults = await layers.faults(id, options)
    if (faults.length > 0) bad.set(id, faults.join('; '))
  }
  // What stands on damaged layers cannot stay: they will come again under another cache-id.
  for (let found = true; found;) {
    found = false
    for (const id of ids) {
      const parent = bad.has(id) ? undefined : (await layers.get(id))?.parent
      if (parent === undefined || (!bad.has(parent) && ids.includes(parent))) continue
      bad.set(id, `it stands on ${parent}`)
      unfounded.unshift(id)
      found = true
    }
  }
  const damaged = [...bad.keys()].filter((id) => !unfounded.includes(id))
  for (const id of [...unfounded, ...damaged]) {
    const kind = unfounded.includes(id) ? 'layer-unfounded' : 'layer-damaged'
    await report({ kind, id }, bad.get(id) ?? '', () => layers.discard(id))
  }
  for (const id of await layers.driverOrphans()) {
    await report({ kind: 'driver-orphan', id }, 'no layer and no container has it', () =>
      layers.removeOrphan(id),
    )
  }
  if (options.content !== false) {
    for (const { path, layer, detail } of await layers.driverDamage(options)) {
      await report({ kind: 'driver-damaged', id: layer ?? path }, `${path}: ${detail}`)
    }
  }
  return ids.length
}

async function checkImages(catalog: Catalog, options: CheckOptions, report: Report): Promise<number> {
  const { images, layers } = catalog
  const ids = await images.list()
  for (const id of ids) {
    options.signal?.throwIfAborted()
    const config = await images.config(id).catch((error: unknown) => messageOf(error))
    if (typeof config === 'string') {
      await report({ kind: 'image-damaged', id }, config, () => catalog.locked(() => images.remove(id)))
      continue
    }
    const missing: ChainID[] = []
    for (const chain of chainIds(config.rootfs.diff_ids)) {
      if ((await layers.get(chain).catch(() => undefined)) === undefined) missing.push(chain)
    }
    if (missing.length > 0) await report({ kind: 'image-incomplete', id }, `not here: ${missing.join(', ')}`)
  }
  return ids.length
}

async function checkReferences(catalog: Catalog, report: Report): Promise<void> {
  const { images, references } = catalog
  const all = await references.all().catch((error: unknown) => messageOf(error))
  if (typeof all === 'string') {
    return report({ kind: 'references-damaged', id: 'repositories.json' }, all, () =>
      catalog.locked(() => references.reset()),
    )
  }
  for (const [id, names] of all) {
    if (await images.has(id)) continue
    for (const name of names) {
      await report({ kind: 'reference-dangling', id: name }, `there is no image ${id}`, () =>
        catalog.locked(() => references.delete([parseReference(name)])),
      )
    }
  }
}

async function checkContainers(catalog: Catalog, report: Report): Promise<void> {
  const { containers, layers } = catalog
  for (const id of await containers.damaged()) {
    await report({ kind: 'container-damaged', id }, 'its record is none', () => recordAnew(catalog, id))
  }
  for (const id of await layers.writableNames()) {
    // Asked in this order: the record of one that is being made is there before it is no more under way.
    if ((await containers.isDockers(id)) || (await layers.isUnderWay(id)) || (await containers.has(id)))
      continue
    if (!(await layers.hasWritable(id))) continue
    await report({ kind: 'container-damaged', id }, 'it has no record', () => recordAnew(catalog, id))
  }
  const records = await containers.list()
  for (const id of new Set([...records.map((record) => record.id), ...(await layers.writableNames())])) {
    const { name = id } = records.find((record) => record.id === id) ?? {}
    if (await layers.hasWritable(id)) {
      const fault = await layers.writableFault(id)
      if (fault !== undefined) await report({ kind: 'container-damaged', id }, `container ${name}: ${fault}`)
      continue
    }
    if (await layers.isUnderWay(id)) continue
    await report({ kind: 'container-damaged', id }, `container ${name} has no writable layer`, async () => {
      await layers.discardWritable(id)
      await catalog.locked(() => containers.remove(id))
    })
  }
}

/** From what the layerdb has of it. */
async function recordAnew(catalog: Catalog, id: string): Promise<void> {
  const { parent } = await catalog.layers.writable(id)
  for (const image of await catalog.images.list()) {
    if ((await catalog.topLayer(image)) !== parent) continue
    const record = { id, name: id.slice(0, 12), image, created: new Date().toISOString() }
    return catalog.locked(() => catalog.containers.write(record))
  }
  throw new StoreError('IMAGE_NOT_FOUND', `no image has the layers that container ${id} stands on`)
}

async function succeeds(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (isAbort(error)) throw error
    return false
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
