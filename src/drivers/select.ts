import { StoreError } from '../errors.js'
import type { Driver } from './driver.js'
import type { DriverFactory, DriverOpenOptions } from './factory.js'
import type { DriverRegistry } from './registry.js'

export interface SelectOptions extends DriverOpenOptions {
  /** A registered name, or `auto`. */
  readonly driver: string
}

export interface Selection {
  readonly driver: Driver
  /** The drivers that `auto` tried first, and why each was refused. */
  readonly refused: readonly Refusal[]
}

/** A driver that `auto` did not take. */
export interface Refusal {
  /** The driver's name. */
  readonly name: string
  /** Why it does not work, as a clause without a full stop. */
  readonly reason: string
}

/**
 * Opens a driver by name. `auto` chooses as Docker does: a driver that already holds layers in this root, else the
 * first driver that works, in registry order.
 *
 * If drivers hold layers in this root but none of them works, `auto` chooses none: any other driver would hide what the
 * root holds. Throws `DRIVER_UNSUPPORTED` with the reason of each refusal.
 */
export async function selectDriver(registry: DriverRegistry, options: SelectOptions): Promise<Selection> {
  const { driver: name, ...open } = options
  if (name !== 'auto') return { driver: await registry.get(name).open(open), refused: [] }
  const prior = await holders(registry, open.root)
  return tryEach(prior.length > 0 ? prior : [...registry], open, prior.length > 0)
}

async function holders(registry: DriverRegistry, root: string): Promise<DriverFactory[]> {
  const found: DriverFactory[] = []
  for (const factory of registry) if (await factory.holdsLayers(root)) found.push(factory)
  return found
}

async function tryEach(
  candidates: readonly DriverFactory[],
  open: DriverOpenOptions,
  prior: boolean,
): Promise<Selection> {
  const refused: Refusal[] = []
  for (const factory of candidates) {
    try {
      return { driver: await factory.open(open), refused }
    } catch (error) {
      if (!isRefusal(error)) throw error
      refused.push({ name: factory.name, reason: error.message })
    }
  }
  throw unsupported(refused, prior)
}

function isRefusal(error: unknown): error is StoreError {
  return (
    error instanceof StoreError &&
    (error.code === 'ENGINE_UNSUPPORTED' || error.code === 'DRIVER_UNSUPPORTED')
  )
}

function unsupported(refused: readonly Refusal[], prior: boolean): StoreError {
  const reasons = refused.map(({ name, reason }) => `${name}: ${reason}`).join('; ')
  const which = prior
    ? 'no driver that has layers in this root works on this system'
    : 'no storage driver works on this system'
  return new StoreError('DRIVER_UNSUPPORTED', `${which} (${reasons || 'no driver is registered'})`, {
    hint: prior
      ? 'open the root with the privileges it was made with, or name another driver, which starts empty and keeps these layers'
      : 'vfs and the userspace engines need only a writable directory: check the options driver and engine',
  })
}
