import { isDigest, type ChainID } from '../digest.js'
import { Lease } from '../durable/lease.js'
import { Rollback } from '../rollback.js'
import { isDriverId } from './layerdb.js'

/**
 * What an operation names in its lease before it does it. Crash recovery reads claims, and so do operations that must not
 * meet.
 *
 * - `layer`: a driver layer that is being made or removed.
 * - `writable`: a container's writable layer that is being made or removed.
 * - `use`: a writable layer that a commit reads.
 * - `adopt`: a writable layer that a commit with `consume` turns into the driver layer `cacheId`.
 * - `chain`: a layer, existing or still to come, that must not be removed.
 */
export type Claim =
  | { readonly kind: 'layer'; readonly id: string }
  | { readonly kind: 'writable'; readonly name: string }
  | { readonly kind: 'use'; readonly mountId: string }
  | { readonly kind: 'adopt'; readonly mountId: string; readonly cacheId: string; readonly name: string }
  | { readonly kind: 'chain'; readonly id: ChainID }

export type Adoption = Claim & { readonly kind: 'adopt' }

/** A claim as it stands in a lease. */
export function encodeClaim(claim: Claim): string {
  switch (claim.kind) {
    case 'layer':
    case 'chain':
      return claim.id
    case 'writable':
      return `writable ${claim.name}`
    case 'use':
      return `uses ${claim.mountId}`
    case 'adopt':
      return `adopt ${claim.mountId} ${claim.cacheId} ${claim.name}`
  }
}

/** `undefined` for text that no claim encodes to. */
export function decodeClaim(text: string): Claim | undefined {
  const [kind, first = '', second = '', third = ''] = text.split(' ')
  if (isDigest(text)) return { kind: 'chain', id: text as ChainID }
  if (isDriverId(text)) return { kind: 'layer', id: text }
  if (kind === 'writable' && first !== '') return { kind, name: first }
  if (kind === 'uses' && isDriverId(first)) return { kind: 'use', mountId: first }
  if (kind === 'adopt' && isDriverId(first) && isDriverId(second) && third !== '') {
    return { kind, mountId: first, cacheId: second, name: third }
  }
  return undefined
}

/** The driver's ids in claims. */
export function driverIdsOf(claims: Iterable<Claim>): Set<string> {
  const ids = new Set<string>()
  for (const claim of claims) {
    if (claim.kind === 'layer') ids.add(claim.id)
    if (claim.kind === 'use' || claim.kind === 'adopt') ids.add(claim.mountId)
    if (claim.kind === 'adopt') ids.add(claim.cacheId)
  }
  return ids
}

/** The claims of all processes that share a root. */
export class Claims {
  /** Holds the leases. */
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  take(...claims: readonly Claim[]): Promise<Lease> {
    return Lease.take(this.directory, claims.map(encodeClaim))
  }

  /**
   * Runs work under a lease, and undoes the noted steps if it fails. The lease ends after that. If a step cannot be undone,
   * the lease stays for the next open.
   */
  async under<T>(claims: readonly Claim[], work: (rollback: Rollback) => Promise<T>): Promise<T> {
    const lease = await this.take(...claims)
    let isWhole = true
    try {
      return await Rollback.guard(work, () => (isWhole = false))
    } finally {
      await (isWhole ? lease.end() : lease.abandon())
    }
  }

  /** Of running processes and of dead ones alike, but for one lease. */
  async all(except?: Lease): Promise<Claim[]> {
    return decoded(await Lease.named(this.directory, except))
  }

  /** Of running processes alone. */
  async living(): Promise<Claim[]> {
    return decoded(await Lease.namedByLiving(this.directory))
  }

  /** Of dead processes, by lease; see `Lease.abandoned`. */
  async *abandoned(): AsyncGenerator<{ readonly lease: Lease; readonly claims: readonly Claim[] }> {
    for await (const { lease, names } of Lease.abandoned(this.directory)) {
      yield { lease, claims: decoded(names) }
    }
  }
}

function decoded(names: Iterable<string>): Claim[] {
  return [...names].map(decodeClaim).filter((claim) => claim !== undefined)
}
