import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import { fewAtATime } from '../concurrency.js'
import type { Catalog } from './catalog.js'
import type { Findings, Remedy } from './repair.js'

/** A fault of a container, and the ways to repair it. */
interface ContainerFault {
  readonly detail: string
  readonly remedies: readonly Remedy[]
  readonly discard?: Remedy
  /** The last step of a removal causes this state for a moment. */
  readonly mayPass?: true
}

/** How often to look at a state that may pass, and the pause between looks in ms. Other states are looked at twice. */
const TRIES = 6
const PAUSE = 80

export async function checkContainers(findings: Findings): Promise<void> {
  const { containers, layers } = findings.catalog
  const records = [...(await containers.list()).map(({ id }) => id), ...(await containers.damaged())]
  const ids = new Set([...records, ...(await layers.writables.names())])
  const faults = await fewAtATime(ids, (id) => lastingFault(findings.catalog, id))
  for (const [index, id] of [...ids].entries()) {
    const fault = faults[index]
    if (fault === undefined) continue
    findings.options.signal?.throwIfAborted()
    await findings.report({ kind: 'container-damaged', id }, fault.detail, fault.remedies, fault.discard)
  }
}

/** A fault that lasts. Another process may be making or removing the container. */
async function lastingFault(catalog: Catalog, id: string): Promise<ContainerFault | undefined> {
  let last: string | undefined
  for (let tries = 1; ; tries++) {
    const fault = await faultOf(catalog, id)
    if (fault === undefined || (await catalog.layers.writables.isUnderWay(id))) return undefined
    if (fault.detail === last && (fault.mayPass !== true || tries >= TRIES)) return fault
    last = fault.detail
    if (fault.mayPass === true) await sleep(PAUSE)
  }
}

async function faultOf(catalog: Catalog, id: string): Promise<ContainerFault | undefined> {
  const { containers, layers } = catalog
  // A decided commit with `consume` turns the container into an image.
  if (layers.consumptions.has(id)) return undefined
  const hasEntry = (await layers.writables.names()).includes(id)
  const record = (await containers.list()).find((each) => each.id === id)
  const isDamaged = record === undefined && (await containers.damaged()).includes(id)
  if (!hasEntry) {
    if (record === undefined && !isDamaged) return undefined
    const detail = `container ${record?.name ?? id} has no writable layer`
    return { detail, remedies: [() => forget(catalog, id)], mayPass: true }
  }
  const image = record?.image
  const mend: Remedy = async () => {
    if (image === undefined) throw new StoreError('CONTAINER_NOT_FOUND', `container ${id} has no record`)
    await layers.upkeep.mendWritable(id, await catalog.topLayer(image))
    const left = await layers.writables.fault(id)
    if (left !== undefined) throw left
  }
  const discard = () => discardContainer(catalog, id)
  if (!(await layers.writables.has(id))) {
    const detail = `container ${record?.name ?? id}: its writable layer is missing from the driver`
    return { detail, remedies: [mend], discard }
  }
  if (record === undefined && !(await containers.isDockers(id))) {
    const detail = isDamaged ? 'its record is damaged' : 'it has no record'
    return { detail, remedies: [() => recordAnew(catalog, id)] }
  }
  const fault = await layers.writables.fault(id)
  if (fault === undefined) return undefined
  const detail = `container ${record?.name ?? id}: ${fault.message}`
  return isDamage(fault) ? { detail, remedies: [mend], discard } : { detail, remedies: [mend] }
}

/** Removes the record of a container whose layer is removed. */
function forget(catalog: Catalog, id: string): Promise<void> {
  return catalog.locked(async () => {
    if (!(await catalog.layers.writables.isGone(id))) throw notGone(id)
    await catalog.containers.remove(id)
  })
}

/** Removes a container whose writable layer is missing or unreadable. */
async function discardContainer(catalog: Catalog, id: string): Promise<void> {
  const { layers, containers } = catalog
  if (await layers.writables.isUnderWay(id)) throw notGone(id)
  if (!(await layers.writables.has(id))) await layers.writables.discard(id)
  else if (isDamage(await layers.writables.fault(id))) await layers.writables.remove(id)
  else throw notGone(id)
  await catalog.locked(() => containers.remove(id))
}

/** Other errors may pass, such as a lack of file descriptors. */
function isDamage(fault: Error | undefined): boolean {
  return fault instanceof StoreError && fault.code === 'STORE_CORRUPT'
}

/** Writes a new record from the container's layerdb entry. */
async function recordAnew(catalog: Catalog, id: string): Promise<void> {
  const { parent } = await catalog.layers.writables.require(id)
  for (const image of await catalog.images.list()) {
    const top = await catalog.topLayer(image).catch(() => null)
    if (top !== parent) continue
    const record = { id, name: id.slice(0, 12), image, created: new Date().toISOString() }
    return catalog.locked(async () => {
      if (!(await catalog.containers.has(id)) || (await catalog.containers.damaged()).includes(id)) {
        await catalog.containers.write(record)
      }
    })
  }
  throw new StoreError('IMAGE_NOT_FOUND', `no image has the layers that container ${id} is based on`)
}

function notGone(id: string): StoreError {
  return new StoreError('LAYER_IN_USE', `container ${id} is in use`)
}
