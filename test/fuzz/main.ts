import { parseArgs } from 'node:util'
import { fuzz, showFound } from './fuzz.js'
import { pairs, type Pair } from './pairs.js'

const USAGE = `npm run fuzz -- [options]

  --pairs TEXT     only pairs whose name contains TEXT             (default: all)
  --seed NUMBER    seed of the first sequence; others count up     (default: random)
  --steps NUMBER   stop after this number of steps on each pair    (default: never)
  --minutes NUMBER stop after this time                            (default: never)
`
/** Steps on one pair before the next pair gets its turn. */
const ROUND = 2000
/** Distance of the seeds of two rounds, so that no seed is used twice. */
const SEEDS = 10_000

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '' },
    seed: { type: 'string', default: String(Math.trunc(Math.random() * 1_000_000)) },
    steps: { type: 'string', default: 'Infinity' },
    minutes: { type: 'string', default: 'Infinity' },
    help: { type: 'boolean', default: false },
  },
})
const chosen = pairs.filter(({ name }) => name.includes(values.pairs))
if (values.help || chosen.length === 0) {
  console.log(`${USAGE}\npairs:\n${pairs.map(({ name }) => `  ${name}`).join('\n')}`)
} else {
  for (const { name, reason } of chosen) if (reason !== undefined) console.log(`skipped: ${name} (${reason})`)
  await rounds(chosen.filter(({ reason }) => reason === undefined))
}

async function rounds(runnable: readonly Pair[]): Promise<void> {
  const most = Number(values.steps)
  const end = Date.now() + Number(values.minutes) * 60_000
  const taken = new Map(runnable.map((pair) => [pair, 0]))
  const isOpen = (pair: Pair) => (taken.get(pair) ?? 0) < most && Date.now() < end
  for (let seed = Number(values.seed); runnable.some(isOpen); seed += SEEDS) {
    for (const pair of runnable.filter(isOpen)) {
      const before = taken.get(pair) ?? 0
      const { steps, found } = await fuzz(
        pair,
        seed,
        ({ steps: now }) => now < ROUND && before + now < most && Date.now() < end,
      )
      taken.set(pair, before + steps)
      if (found !== undefined) return report(pair, showFound(pair, found), found.seed)
      console.log(`${pair.name}: ${before + steps} steps, from seed ${seed} on`)
    }
  }
}

function report(pair: Pair, text: string, seed: number): void {
  console.log(`\n${text}\n\nto repeat: npm run fuzz -- --pairs '${pair.name}' --steps 1 --seed ${seed}`)
  console.log('to keep it as a test, paste the steps into test/fuzz/found.test.ts')
  process.exitCode = 1
}
