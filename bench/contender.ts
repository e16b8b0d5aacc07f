import { mkdir, mkdtemp } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { builtInDrivers, type DriverFactory, type DriverRegistry, type Engine } from 'layerstack'
import { removeTree } from '../test/support/mounts.js'
import type { Disk } from './disk.js'

/** Who does a workload: data, since it is done in a process of its own. */
export type Contender = DriverContender | OtherContender

interface OtherContender {
  readonly kind: 'floor' | 'peer'
  readonly name: string
  /** Where it works, if not where the others do. */
  readonly directory?: string
}

export interface DriverContender {
  readonly kind: 'driver'
  readonly name: string
  readonly driver: string
  readonly engine: Engine
  /** The view's `LayerFs`, or Node's own calls on the host path that a kernel made. */
  readonly through: 'layerfs' | 'mount'
  /** Views are opened as ones that are thrown away (`GetOptions.volatile`). */
  readonly volatile?: boolean
  readonly hostPath: boolean
  readonly maxDepth: number
  /** Where it works, if not where the others do. */
  readonly directory?: string
  /** Absolute paths of modules that bring drivers of their own. */
  readonly modules: readonly string[]
}

export interface Refused {
  readonly name: string
  readonly reason: string
}

/**
 * Every driver with every engine that works, by the registry alone, and why the others do not. What does not work on the
 * first disk may on a later one.
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
      for (const { engine, works, reason = 'it does not say why' } of (await factory.supported(root))
        .engines) {
        const before = found.get(engine)
        if (before !== undefined && 'kind' in before) continue
        const name = `${factory.name}/${engine}`
        if (!works) {
          found.set(engine, before ?? { name, reason })
          continue
        }
        const { hostPath, maxDepth } = await capabilitiesOf(factory, engine, join(root, engine))
        const place = { name, modules, ...(!usual && { directory: disk.directory }) }
        const ability = { driver: factory.name, engine, hostPath, maxDepth }
        found.set(engine, { kind: 'driver', through: 'layerfs', ...place, ...ability })
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

/** The same driver, where other programs would use it: on its mount. */
export function onItsMount(contender: DriverContender): DriverContender {
  return { ...contender, name: `${contender.name} mount`, through: 'mount' }
}

/** The same driver, without syncs of what is written in a container. */
export function withoutSyncs(contender: DriverContender): DriverContender {
  return { ...contender, name: `${contender.name} volatile`, volatile: true }
}

/** The built-in drivers, and those that modules bring: each exported value that opens a root. */
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
