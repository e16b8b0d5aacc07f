import { parseArgs } from 'node:util'
import { attacks } from './attacks.js'
import { runAttack } from './run-attack.js'

const USAGE = `npm run torture -- [options]

  --attacks TEXT   only attacks whose name contains TEXT   (default: all)
  --seed NUMBER    seed of all random choices              (default: random)
  --minutes NUMBER duration of all attacks together        (default: 10)
`

const { values } = parseArgs({
  options: {
    attacks: { type: 'string', default: '' },
    seed: { type: 'string', default: String(Math.trunc(Math.random() * 1_000_000)) },
    minutes: { type: 'string', default: '10' },
    help: { type: 'boolean', default: false },
  },
})
const chosen = attacks.filter(({ name }) => name.includes(values.attacks))
if (values.help || chosen.length === 0) {
  console.log(`${USAGE}\nattacks:\n${attacks.map(({ name }) => `  ${name}`).join('\n')}`)
} else {
  await torture()
}

async function torture(): Promise<void> {
  const runnable = chosen.filter(({ reason }) => reason === undefined)
  for (const { name, reason } of chosen) if (reason !== undefined) console.log(`skipped: ${name} (${reason})`)
  const seconds = (Number(values.minutes) * 60) / runnable.length
  let broken = 0
  for (const attack of runnable) {
    const { figures, violations } = await runAttack(attack, Number(values.seed), seconds)
    const counts = Object.entries(figures).map(([figure, count]) => `${count} ${figure}`)
    console.log(`${attack.name}: ${[...counts, `${violations.length} violations`].join(', ')}`)
    for (const violation of violations) console.log(`  ${violation}`)
    if (violations.length > 0) {
      console.log(`  to repeat: npm run torture -- --attacks '${attack.name}' --seed ${values.seed}`)
    }
    broken += violations.length
  }
  console.log(`seed ${values.seed}: ${runnable.length} attacks, ${broken} violations`)
  if (broken > 0) process.exitCode = 1
}
