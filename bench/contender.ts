import { mkdir, mkdtemp } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { builtInDrivers, type DriverFactory, type DriverRegistry, type Engine } from 'layerstack'
import { removeTree } from '../test/support/mounts.js'
import type { Disk } from './disk.js'

/** Describes what performs a workload. It is plain data, because it is sent to a separate process. */
export type Contender = DriverContender | OtherContender

interface OtherContender {
  readonly kind: 'floor' | 'peer'
  readonly name: string
  /** Its parent directory, if it differs from that of the other contenders. */
  readonly directory?: string
}

export interface DriverContender {
  readonly kind: 'driver'
  readonly name: string
  readonly driver: string
  readonly engine: Engine
  /** How files are accessed: with the view's `LayerFs`, or with Node's calls on its host path. */
  readonly through: 'layerfs' | 'mount'
  /** Opens views with `GetOptions.volatile`. */
  readonly volatile?: boolean
  readonly hostPath: boolean
  readonly maxDepth: number
  /** Its parent directory, if it differs from that of the other contenders. */
  readonly directory?: string
  /** Paths of modules that export further drivers. */
  readonly modules: readonly string[]
}

export interface Refused {
  readonly name: string
  readonly reason: string
}

/**
 * Finds every registered driver and engine that works, and the reason why each other one does not. Each is tried on the
 * disks in order, until it works on one.
 */
export async function driverContenders(
  disks: readonly Disk[],
  modules: readonly string[],
): Promise<{ contenders: DriverContender[]; refused: Refused[] }> {
  const contenders: DriverContender[] = []
  const refused: Refused[] = []
  for (const factory of await registryWith(modules)) {
    const found = new Map<Engine, DriverContender | Refused>()
    for (const disk of disks) {
      const usual = disk === disks[0]
      const root = await mkdtemp(join(disk.directory, 'probe-'))
      for (const { engine, works, reason = 'the driver gives no reason' } of (await factory.supported(root))
        .engines) {
        const before = found.get(engine)
        if (before !== undefined && 'kind' in before) continue
        const name = `${factory.name}/${engine}`
        if (!works) {
          found.set(engine, before ?? { name, reason })
          continue
        }
        const { hostPath, maxDepth } = await capabilitiesOf(factory, engine, join(root, engine))
        const common = { name, modules, ...(!usual && { directory: disk.directory }) }
        const ability = { driver: factory.name, engine, hostPath, maxDepth }
        found.set(engine, { kind: 'driver', through: 'layerfs', ...common, ...ability })
      }
      await removeTree(root)
    }
    for (const each of found.values()) {
      if ('kind' in each) contenders.push(each)
      else refused.push(each)
    }
  }
  return { contenders, refused }
}

/** Returns the same driver, accessed through its mount as other programs would. */
export function onItsMount(contender: DriverContender): DriverContender {
  return { ...contender, name: `${contender.name} mount`, through: 'mount' }
}

/** Returns the same driver, without syncs of data written in a container. */
export function withoutSyncs(contender: DriverContender): DriverContender {
  return { ...contender, name: `${contender.name} volatile`, volatile: true }
}

/** Returns the built-in drivers, and each `DriverFactory` that the modules export. */
export async function registryWith(modules: readonly string[]): Promise<DriverRegistry> {
  const registry = builtInDrivers()
  for (const module of modules) {
    const exported = (await import(pathToFileURL(resolve(module)).href)) as Record<string, unknown>
    const factories = Object.values(exported).filter(isFactory)
    if (factories.length === 0) throw new TypeError(`${module} exports no DriverFactory`)
    for (const factory of new Set(factories)) registry.register(factory)
  }
  return registry
}

function isFactory(value: unknown): value is DriverFactory {
  return (
    typeof value === 'object' && value !== null && 'name' in value && 'open' in value && 'supported' in value
  )
}

async function capabilitiesOf(factory: DriverFactory, engine: Engine, root: string) {
  await mkdir(root, { recursive: true })
  const driver = await factory.open({ root, engine, readOnly: false })
  const { capabilities } = driver
  await driver.cleanup()
  return capabilities
}
