import { chainIds, type ChainID, type ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { Catalog } from './catalog.js'
import { checkContainers } from './check-containers.js'
import { checkLayers, checkOrphans } from './check-layers.js'
import { Findings, messageOf, type CatalogCheckOptions, type Problem, type RepairSource } from './repair.js'

/** What {@link Store.check} found. */
export interface CheckReport {
  /** Whether no problem was found, or all were repaired. */
  readonly clean: boolean
  /** All problems, also those that were repaired. */
  readonly problems: readonly Problem[]
  /** The number of layers that were examined. */
  readonly layers: number
  /** The number of images that were examined. */
  readonly images: number
}

/**
 * Examines everything and reports all problems. Concurrent changes by other processes are not problems. Every repair looks
 * again under the lock before it changes anything.
 */
export async function check(
  catalog: Catalog,
  options: CatalogCheckOptions,
  source?: RepairSource,
): Promise<CheckReport> {
  const findings = new Findings(catalog, options, source)
  const images = await checkConfigs(findings)
  const layers = await checkLayers(findings)
  await checkCompleteness(findings)
  await checkReferences(findings)
  await checkContainers(findings)
  await checkOrphans(findings)
  const { problems } = findings
  return { clean: problems.every(({ repaired }) => repaired), problems, layers, images }
}

/** Runs first: configs tell which layers damaged entries belong to. */
async function checkConfigs(findings: Findings): Promise<number> {
  const { catalog, options, source } = findings
  const { images } = catalog
  const ids = await images.list()
  for (const id of ids) {
    options.signal?.throwIfAborted()
    const error = await configFault(catalog, id)
    if (error === undefined) continue
    const restore = async (): Promise<void> => {
      const bytes = source?.config(id)
      if (bytes === undefined) throw new StoreError('IMAGE_NOT_FOUND', `the source has no image ${id}`)
      await catalog.locked(() => images.add(bytes))
    }
    const discard = (): Promise<void> =>
      catalog.locked(async () => {
        if ((await configFault(catalog, id)) !== undefined) await images.remove(id)
      })
    await findings.report({ kind: 'image-damaged', id }, error, [restore], discard)
  }
  return ids.length
}

/** `undefined` for an intact or removed image. */
async function configFault({ images }: Catalog, id: ImageID): Promise<string | undefined> {
  try {
    await images.config(id)
    return undefined
  } catch (error) {
    return error instanceof StoreError && error.code === 'IMAGE_NOT_FOUND' ? undefined : messageOf(error)
  }
}

async function checkCompleteness(findings: Findings): Promise<void> {
  const { catalog, options } = findings
  for (const id of await catalog.images.list()) {
    options.signal?.throwIfAborted()
    const missing = await missingLayers(catalog, id)
    // An image is removed before its layers.
    if (missing.length === 0 || !(await catalog.images.has(id))) continue
    const detail = `missing layers: ${missing.join(', ')}`
    await findings.report({ kind: 'image-incomplete', id }, detail, [() => complete(findings, id)])
  }
}

async function missingLayers({ images, layers }: Catalog, id: ImageID): Promise<ChainID[]> {
  const config = await images.config(id).catch(() => undefined)
  const missing: ChainID[] = []
  for (const chain of chainIds(config?.rootfs.diff_ids ?? [])) {
    // A damaged layer exists, and is a problem of its own.
    const isHere = await layers.get(chain).then(
      (layer) => layer !== undefined,
      () => true,
    )
    if (!isHere) missing.push(chain)
  }
  return missing
}

async function complete({ catalog, source, options }: Findings, id: ImageID): Promise<void> {
  const { rootfs } = await catalog.images.config(id)
  const chain = chainIds(rootfs.diff_ids)
  await using _pin = await catalog.layers.pin(chain)
  for (const [index, diffId] of rootfs.diff_ids.entries()) {
    if ((await catalog.layers.get(chain[index] as ChainID)) !== undefined) continue
    const layer = source?.layer(diffId)
    if (layer === undefined) throw new StoreError('LAYER_MISSING', `the source has no layer ${diffId}`)
    const { signal } = options
    const place = { parent: chain[index - 1], expected: diffId, blob: layer.blob }
    await catalog.layers.register(layer.source, { ...place, signal })
  }
}

async function checkReferences(findings: Findings): Promise<void> {
  const { catalog } = findings
  const { references } = catalog
  const all = await references.all().catch((error: unknown) => messageOf(error))
  if (typeof all === 'string') {
    const begin = (): Promise<void> =>
      catalog.locked(async () => {
        const isDamaged = await references.all().then(
          () => false,
          () => true,
        )
        if (isDamaged) await references.reset()
      })
    await findings.report({ kind: 'references-damaged', id: 'repositories.json' }, all, [begin])
    return
  }
  for (const [id, names] of all) {
    for (const name of names) {
      if (!(await isDangling(catalog, name, id))) continue
      const remedies = [() => restoreNamed(findings, id), () => forgetDangling(catalog, name, id)]
      await findings.report({ kind: 'reference-dangling', id: name }, `no such image: ${id}`, remedies)
    }
  }
}

/** Looks at the name last, because a name is removed before its image. */
async function isDangling({ images, references }: Catalog, name: string, id: ImageID): Promise<boolean> {
  return !(await images.has(id)) && ((await references.all()).get(id) ?? []).includes(name)
}

async function restoreNamed(findings: Findings, id: ImageID): Promise<void> {
  const { catalog, source } = findings
  const bytes = source?.config(id)
  if (bytes === undefined) throw new StoreError('IMAGE_NOT_FOUND', `the source has no image ${id}`)
  await catalog.locked(() => catalog.images.add(bytes))
  await complete(findings, id)
}

function forgetDangling(catalog: Catalog, name: string, id: ImageID): Promise<void> {
  return catalog.locked(async () => {
    if (await isDangling(catalog, name, id)) await catalog.references.delete([name])
  })
}
