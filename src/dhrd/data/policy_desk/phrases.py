"""The words of the mails: items, sentences that state a fact, and sentences that state none.

`[a|b]` is a choice, `[1..9]` a number. Slots: {a} the item, "a kettle" at its first mention and "the kettle" later,
{the} "the kettle", {it} "the kettle" or "it", {days} the time since the purchase, {wore} and {worn} what one does with
such an item, {fault} what was wrong.
"""

from __future__ import annotations

ITEMS = {
    "electronics": (
        *("tablet", "headset", "camera", "router", "keyboard", "monitor", "printer", "loudspeaker", "smartwatch"),
        *("webcam", "hard drive", "game console"),
    ),
    "clothing": (
        *("jacket", "sweater", "coat", "dress", "shirt", "skirt", "scarf", "hoodie", "raincoat", "cardigan"),
        *("blouse", "waistcoat"),
    ),
    "kitchenware": (
        *("frying pan", "saucepan", "teapot", "kettle", "baking tin", "wok", "casserole dish", "salad bowl"),
        *("bread knife", "chopping board", "toaster", "pepper mill"),
    ),
    "books": (
        *("novel", "cookbook", "atlas", "dictionary", "biography", "textbook", "travel guide", "thriller"),
        *("picture book", "poetry book", "comic", "grammar"),
    ),
    "tools": (
        *("drill", "hammer", "handsaw", "screwdriver", "sander", "wrench", "ladder", "hedge trimmer", "chisel"),
        *("spirit level", "lawn mower", "workbench"),
    ),
    "cosmetics": (
        *("lipstick", "perfume", "face cream", "shampoo", "mascara", "body lotion", "nail polish", "hair dye"),
        *("sun cream", "aftershave", "eyeliner", "face powder"),
    ),
}

USE = {"clothing": ("wore", "worn"), "books": ("read", "read")}
OTHER_USE = ("used", "used")

FAULTS = {
    "electronics": "[would not switch on|kept switching itself off|did not start|showed no sign of life]",
    "clothing": "had [a torn seam|a hole under the arm|a broken button|a stain on the back]",
    "kitchenware": "had [a crack|a loose handle|a deep dent|a chipped edge]",
    "books": "had [blank pages|torn pages|pages upside down|a broken spine]",
    "tools": "[was bent|came apart|had a broken handle|had a loose screw inside]",
    "cosmetics": "[had dried out|had gone off|was leaking|smelled rotten]",
}

PURCHASE = (
    "I [bought|ordered|purchased|got] {a} [from you|from your shop|on your website|in your store] {days} ago.",
    "{days} ago [I|my wife|my husband|my mother|we] [bought|ordered|picked up] {a} [from you|at your shop|online].",
    "It is {days} since [I|we] [bought|ordered|picked up|paid for] {a} [at your store|from you|on your site].",
    "[I|We|My parents] have had {a} [from your shop|from you|from your store] for {days} now.",
    "{the} [I bought|I got|we ordered] [from you|at your shop] {days} ago [is not what I wanted|is of no use to "
    "me|was a mistake|is not for us after all].",
    "[This is about|I am writing about|My question is about] {a} [I bought|I ordered|we bought] {days} ago.",
    "[I|We] [took|chose] {a} [in your shop|at your counter|from your catalogue] {days} ago.",
    "{a} [has been in my house|has been with us|has been in my cupboard] for {days} [since the purchase|since I paid].",
)
ITEM = (
    "[This mail|My message|My question] is about {a} [from your shop|from your store|from your website].",
    "I [would like|want|wish|hope] to [send back|bring back|return|hand back] {a} [from your shop|I got from you].",
    "[Could|Can] you [tell me|let me know] what [can be done|is possible|we can do] about {the} [I bought|I ordered]?",
    "[I|We] [do not want|no longer want|have no use for] {the} [I bought|we ordered] [from you|at your shop].",
)
TIME = (
    "[The purchase|The order|My purchase|My order] was {days} ago.",
    "[I|We|My husband|My wife] [paid|placed the order|went to the till] {days} ago.",
    "The [order date|invoice date|date of the purchase] is {days} [back|in the past|behind us].",
    "[Since the purchase|Since I paid|Since the order] {days} have [gone by|passed].",
    "{days} have [gone by|passed] since [the purchase|I paid|the order].",
)

CONDITIONS = {
    "unused": (
        "{it} is still [sealed|unopened|in the sealed box|in the original wrapping|untouched in the box].",
        "I have [not opened|never opened|not unpacked|never unwrapped|not touched] {it} [yet|so far|at all].",
        "[Nobody|No one] [here|in our house|at home|in the family] has [opened|{worn}|unpacked|touched] {it}.",
        "The [seal|wrapping|packaging] on {it} [is intact|was never opened|is unbroken|has not been opened].",
    ),
    "opened": (
        "I [opened|unpacked] {it} and {wore} it [once|twice|three times|a few times], and [all is in good order|it "
        "looks like new|nothing is wrong with it].",
        "{it} has been [{worn}|opened and {worn}] [once|twice|a little|a few times] but is [in good order|like "
        "new|fine].",
        "[My son|My daughter|My sister|I] [{wore} {it}|unpacked {it} and {wore} it] [once|for an afternoon|over a "
        "weekend] and [nothing is wrong with it|it is in perfect order].",
        "[The box is open|The seal is open|The wrapping is gone] and [I|we] have {worn} {it} [once|twice|a few times], "
        "[with no marks|and it is like new|and it shows nothing].",
    ),
    "faulty": (
        "{it} {fault} [when it arrived|when I unpacked it|right out of the box|from the first day|from the start].",
        "[I|We] [opened the parcel|opened the box|unpacked it] and [found|saw|noticed] that {it} {fault}.",
        "[You sent me|I was sold|I received] a faulty piece: {it} {fault}.",
    ),
    "damaged": (
        "[I|My son|My daughter|My flatmate] [dropped {it}|stepped on {it}|sat on {it}|drove over {it}] [by "
        "accident|last night|on Sunday|yesterday] and now it is [broken|ruined|in pieces].",
        "[My dog|Our cat|My toddler|The puppy] [chewed on {it}|got hold of {it}|ruined {it}] [last night|on "
        "Sunday|yesterday|while I was out].",
        "[I|My son|My flatmate] [spilled coffee on {it}|spilled paint on {it}|left {it} out in the rain|burnt {it} on "
        "the stove] [by accident|last night|on Sunday|yesterday].",
    ),
}
RECEIPT = {
    True: (
        "I [have|still have|kept|can show you] the [receipt|till slip|invoice|paper receipt] [here|too|in my drawer|].",
        "The [receipt|till slip|invoice|paper receipt] is [enclosed|attached|in front of me|still in my wallet].",
        "[Of course|Luckily] [I|we] kept the [receipt|till slip|invoice|paper receipt].",
    ),
    False: (
        "[I|We] [lost|cannot find|no longer have|threw away] the [receipt|till slip|invoice|paper receipt].",
        "The [receipt|till slip|invoice|paper receipt] is [gone|lost|nowhere to be found|missing].",
        "There is no [receipt|till slip|invoice|paper receipt] [any more|left|in the box], [sorry|I am afraid].",
    ),
}
TIERS = {
    "none": (
        "I [am not|have never been] a member [of your club|with you|of your card scheme].",
        "I have no [customer card|club card|membership] [with you|at your shop|so far|yet].",
        "[We|I] do not have [a customer card|a club card|a membership].",
    ),
    "silver": (
        "I [am|have long been] a silver [member|customer|card holder] [of yours|with you|of your shop].",
        "My [customer card|club card|membership|account] is [a silver one|silver|at silver level].",
        "[You have me down as|I hold|We hold] [a silver card|silver membership|silver status].",
    ),
    "gold": (
        "I [am|have long been] a gold [member|customer|card holder] [of yours|with you|of your shop].",
        "My [customer card|club card|membership|account] is [a gold one|gold|at gold level].",
        "[You have me down as|I hold|We hold] [a gold card|gold membership|gold status].",
    ),
}
FINAL_SALE = (
    "{it} was [marked|labelled|sold as|on the list as] final sale [in your shop|on your website|at the time|back "
    "then].",
    "{it} came from [your|the] final sale [rack|shelf|page|corner].",
)

NAMES = (
    "[Anna|Maria|Tom|Lena|Omar|Priya|Jack|Sofia|Ben|Clara|David|Emma|Felix|Grace|Hugo|Ines|Karim|Laura|Mark|Nina|Paul|"
    "Rosa|Sam|Tara] [Berg|Costa|Dunn|Ellis|Frey|Gupta|Hall|Ivers|Jansen|Kerr|Lopez|Marsh|Novak|Owen|Park|Reed|Stone|"
    "Turner|Vance|Weber]"
)
OPENINGS = (
    f"This is {NAMES}[, writing|,|] from [Leeds|Cork|Bristol|Dover|York|Bath|Perth|Derby].",
    f"My name is {NAMES}.",
)
OTHERS = (
    "My order number [ends in|is|begins with] [1000..9999].",
    "[I|We] paid [11..180] [pounds|euros|dollars] [in cash|by card|with a bank transfer|online].",
    "The parcel [took|needed] [two|three|four|five|six|3|4|5|6|8|9|ten|eleven|12] days to [reach us|reach me|get "
    "here|arrive].",
    "My [neighbour|sister|cousin|colleague|brother] [bought|has|owns] [the same one|a similar one] and [is happy with "
    "it|loves it|never complained|got it cheaper].",
    "[I|We|My parents] have been [shopping|buying] [with you|at your shop] for [two|three|four|six|ten|twelve] years.",
    "Your [driver|courier|shop assistant|cashier] was [very kind|friendly|in a hurry|helpful] [by the way|as "
    "always|that day].",
    "[I|We] [called|rang|tried] your hotline [twice|three times|four times] [today|this week|on Monday] [and nobody "
    "answered|without luck|in vain].",
    "It was [meant|bought|intended] as a present for my [mother|brother|aunt|uncle|niece|boss].",
    "[I would prefer|I would like|I hope for|I want] [my money back|a refund|another one|an exchange|store credit|a "
    "credit note][, please|, if possible|, thank you|].",
    "I am [travelling|away|at work|in hospital] until [Monday|Tuesday|Friday|the weekend], so please [write|mail] "
    "[me|] rather than call.",
    "The [colour|size|look|model] is [not quite|hardly|not at all] what [I expected|the photo showed|I had in mind].",
    "There was a [ten|twenty|fifteen|five|10|15|20] percent discount [that day|that week|on everything|in the whole "
    "shop].",
    "A friend waited [two|three|four|five|six|3|4|5|6|7|8] weeks for [an answer|your reply|a decision] [last "
    "year|once|in spring].",
    "[The weather here is|Business must be|Life is] [dreadful|busy|hectic|wonderful] [this week|at the moment|these "
    "days].",
)
CLOSINGS = (
    f"[Thank you|Thanks|Many thanks|Regards|Kind regards|Best wishes], {NAMES}",
    f"[Thank you in advance|Thanks for your help|Looking forward to your answer|Hope to hear from you soon], {NAMES}",
)
